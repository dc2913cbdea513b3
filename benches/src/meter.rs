//! Measures two things in turn, A B B A …, so that what the machine does meanwhile falls on both.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::json;

/// What meets the goal.
pub enum Goal {
    /// There is none.
    None,
    /// Our median time over the other's, at most.
    Ratio(f64),
    /// Our median time, at most.
    Nanoseconds(f64),
}

/// How long to measure.
pub struct Meter {
    /// Interleaved pairs.
    pub pairs: usize,
    /// About how long one sample takes.
    pub sample: Duration,
}

impl Meter {
    /// Measures and prints the line.
    pub fn compare(
        &self,
        ours: &str,
        a: &mut dyn FnMut() -> bool,
        beside: &str,
        b: &mut dyn FnMut() -> bool,
        goal: Goal,
    ) {
        let (a_runs, b_runs) = (self.runs(a), self.runs(b));
        let (mut a_ns, mut b_ns) = (Vec::new(), Vec::new());
        for pair in 0..self.pairs {
            let (x, y) = if pair % 2 == 0 {
                let x = sample(a, a_runs);
                (x, sample(b, b_runs))
            } else {
                let y = sample(b, b_runs);
                (sample(a, a_runs), y)
            };
            a_ns.push(x);
            b_ns.push(y);
        }
        print(ours, &a_ns, beside, &b_ns, goal);
    }

    /// How many runs fill a sample; warms up as well.
    fn runs(&self, run: &mut dyn FnMut() -> bool) -> u32 {
        let mut runs = 1;
        loop {
            let start = Instant::now();
            let _ = sample(run, runs);
            if start.elapsed() >= self.sample / 2 {
                return runs * 2;
            }
            runs *= 2;
        }
    }
}

/// Prints one figure: nanoseconds of ours and of the other, pair by pair.
pub fn print(ours: &str, ours_ns: &[f64], beside: &str, beside_ns: &[f64], goal: Goal) {
    let mut ratios: Vec<f64> = ours_ns.iter().zip(beside_ns).map(|(a, b)| a / b).collect();
    let mid = median(&mut ratios);
    let mut line = json!({
        "ours": ours,
        "beside": beside,
        "ours_ns": median(&mut ours_ns.to_vec()),
        "beside_ns": median(&mut beside_ns.to_vec()),
        "ratio": [ratios[0], mid, ratios[ratios.len() - 1]],
        "pairs": ratios.len(),
    });
    match goal {
        Goal::None => {}
        Goal::Ratio(limit) => line["goal_ratio"] = limit.into(),
        Goal::Nanoseconds(limit) => line["goal_ns"] = limit.into(),
    }
    println!("{line}");
}

/// Nanoseconds of one run.
fn sample(run: &mut dyn FnMut() -> bool, runs: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        assert!(black_box(run()), "it must hold every time");
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(runs)
}

/// Median of the values, which must not be empty.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
