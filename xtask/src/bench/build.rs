//! What building costs, and what comes out of it.

use std::time::Instant;

use super::{Bench, Found, Number};
use crate::dist;
use crate::outcome::{Doing, Result};
use crate::process::cargo;
use crate::static_build::Profile;

/// The clean build that a newcomer waits for, and the package.
pub(super) fn measure(bench: &mut Bench, found: &mut Found) -> Result {
    let mut number = |name: &str, value: f64, unit: &str, goal| {
        found.numbers.push(Number { name: name.to_owned(), value, unit: unit.to_owned(), goal });
    };
    if !bench.quick {
        let target = bench.space.target.join("bench-clean-build");
        let _ = std::fs::remove_dir_all(&target);
        let mut build = cargo();
        build.args(["build", "--release", "--package", "seamless-issuer", "--locked"]);
        build.current_dir(&bench.space.root).env("CARGO_TARGET_DIR", &target);
        let start = Instant::now();
        let built = bench.log.run(&mut build);
        let took = start.elapsed().as_secs_f64();
        let _ = std::fs::remove_dir_all(&target);
        built?;
        number(
            "`cargo build --release -p seamless-issuer`, nothing built before",
            took / 60.0,
            "minutes",
            None,
        );
    }
    let out = bench.space.target.join("bench-package");
    let package = dist::build(&bench.space, Profile::Dist, None, &out, &mut bench.log)?;
    number("the Debian package", package.bytes as f64 / 1e6, "MB", None);
    number("the static program in it", package.program_bytes as f64 / 1e6, "MB", None);
    std::fs::remove_dir_all(&out).doing("remove the package again")
}
