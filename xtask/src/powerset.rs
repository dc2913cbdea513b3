//! Every set of features of the token core that differs in what is compiled.

/// A set of features, as `--features` takes it.
pub type Set = Vec<&'static str>;

/// All of them: what implies what (`jwt` needs `alloc`, the algorithms need `jwt`, …) is left out, since it
/// would compile the same code twice.
pub fn all() -> Vec<Set> {
    let mut sets = vec![vec![], vec!["hmac"]];
    // It changes nothing in the others, so a few of it do.
    for mint in [None, Some("mint")] {
        for format in [None, Some("jwt"), Some("eddsa")] {
            sets.push([Some("chap"), mint, format].into_iter().flatten().collect());
        }
    }
    for hmac in [None, Some("hmac")] {
        for memory in ["alloc", "std"] {
            for mint in [None, Some("mint")] {
                sets.push([Some(memory), hmac, mint].into_iter().flatten().collect());
                for algorithms in 0..8_u8 {
                    let algorithms = [(1, "eddsa"), (2, "es256"), (4, "rs256")]
                        .into_iter()
                        .filter_map(|(bit, name)| (algorithms & bit != 0).then_some(name));
                    sets.push(
                        [Some(memory), hmac, mint, Some("jwt")]
                            .into_iter()
                            .flatten()
                            .chain(algorithms)
                            .collect(),
                    );
                }
            }
        }
    }
    sets
}

/// What an edge may link: no `mint` in a wasm artefact.
pub fn edge() -> Vec<Set> {
    all().into_iter().filter(|set| !set.contains(&"mint") && !set.contains(&"std")).collect()
}

/// The sets whose tests are run, not only compiled: the smallest, each format alone, and everything.
pub fn tested() -> Vec<Set> {
    vec![
        vec![],
        vec!["hmac"],
        vec!["jwt"],
        vec!["eddsa"],
        vec!["chap", "mint"],
        vec!["std", "hmac", "chap", "eddsa", "es256", "rs256", "mint"],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_distinct_and_edges_cannot_mint() {
        let sets = all();
        let distinct: std::collections::BTreeSet<_> = sets.iter().collect();
        assert_eq!((sets.len(), distinct.len()), (80, 80));
        assert!(edge().iter().all(|set| !set.contains(&"mint")));
    }
}
