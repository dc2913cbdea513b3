//! Verification at the edge, beside what people use there now: in Node, in workerd and in Envoy.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench as All, Found};
use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo, find, output};
use crate::stages::Workspace;
use crate::{tools, wasm};

/// Adds the figures of all three. What can't run here is noted, and the rest goes on.
pub(super) fn measure(all: &mut All, found: &mut Found) -> Result {
    let bench = Bench::prepare(&all.space, all.quick, &mut all.log)?;
    let mut parts: Vec<(&str, Result<Command>)> = vec![
        ("Node", bench.script("verify.mjs")),
        ("instance start", bench.script("start.mjs")),
        ("workerd", bench.workerd()),
        ("Envoy", bench.envoy(&mut all.log)),
    ];
    for (name, command) in &mut parts {
        println!("measuring: {name}");
        let lines = match command {
            Ok(command) => output(command),
            Err(failure) => Err(Failure::new(failure.to_string())),
        };
        lines
            .and_then(|text| found.read(&text))
            .unwrap_or_else(|failure| found.notes.push(format!("{name}: {failure}")));
    }
    Ok(())
}

struct Bench<'a> {
    space: &'a Workspace,
    quick: bool,
    node: PathBuf,
    npm: PathBuf,
    build: PathBuf,
    dist: PathBuf,
    /// A folder whose node_modules has the package, as a user's has.
    project: PathBuf,
}

impl<'a> Bench<'a> {
    fn prepare(space: &'a Workspace, quick: bool, log: &mut Log) -> Result<Self> {
        let node = find("node").ok_or_else(|| Failure::new("node is not installed"))?;
        let tools = tools::folder()?;
        let npm = tools::peers(&tools, &space.root, log)?;
        let build = tools::builders(&tools, &space.root, log)?;
        let dist = wasm::build(space, log)?;
        let project = space.target.join("bench-edge");
        wasm::install(&dist, &project, log)?;
        write(&project.join("package.mjs"), "export * from '@seamless-auth/verifier'\n")?;
        let bench = Self { space, quick, node, npm, build, dist, project };
        bench.bundle_workers(log)?;
        Ok(bench)
    }

    /// One of benches/node.
    fn script(&self, name: &str) -> Result<Command> {
        let package = self.project.join("node_modules/@seamless-auth/verifier");
        let mut command = Command::new(&self.node);
        command
            .arg(self.space.root.join("benches/node").join(name))
            .args(self.quick.then_some("--quick"))
            .env("SEAMLESS_PACKAGE", self.project.join("package.mjs"))
            .env("SEAMLESS_PACKAGE_FOLDER", &self.project)
            .env("SEAMLESS_FULL_WASM", package.join("dist/verifier.wasm"))
            .env("SEAMLESS_SLIM_WASM", package.join("dist/hmac.wasm"))
            .env("SEAMLESS_NPM", &self.npm)
            .env("SEAMLESS_BUILD", &self.build);
        Ok(command)
    }

    fn workers(&self) -> PathBuf {
        self.project.join("workers")
    }

    fn bundle_workers(&self, log: &mut Log) -> Result {
        log.run(self.script("workers.mjs")?.arg(self.workers()))?;
        // The examples are measured as they are deployed.
        for (from, to) in [("cloudflare-worker", "example-rust"), ("cloudflare-worker-ts", "example-ts")] {
            let to = self.workers().join(to);
            log.run(Command::new("cp").arg("-R").arg(self.dist.join(from)).arg(&to))?;
        }
        Ok(())
    }

    fn workerd(&self) -> Result<Command> {
        let mut command = self.binary("workerd");
        command
            .env("SEAMLESS_WORKERD", self.npm.join("node_modules/@cloudflare/workerd-linux-64/bin/workerd"))
            .env("SEAMLESS_WORKERS", self.workers());
        Ok(command)
    }

    fn envoy(&self, log: &mut Log) -> Result<Command> {
        let python = tools::python(&tools::folder()?, &self.space.root.join("tests/peers"), log)?;
        let script = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin/envoy')";
        let envoy = output(Command::new(python).args(["-c", script]))?;
        let mut command = self.binary("envoy");
        command
            .env("SEAMLESS_ENVOY", envoy.trim())
            .env("SEAMLESS_FILTER", self.dist.join("seamless-filter.wasm"));
        Ok(command)
    }

    fn binary(&self, word: &str) -> Command {
        let mut command = cargo();
        command
            .args([
                "run",
                "--quiet",
                "--release",
                "--locked",
                "--package",
                "seamless-bench",
                "--bin",
                "seamless-bench",
                "--",
                word,
            ])
            .args(self.quick.then_some("--quick"))
            .current_dir(&self.space.root);
        command
    }
}

fn write(path: &Path, text: &str) -> Result {
    std::fs::write(path, text).doing(format_args!("write {}", path.display()))
}
