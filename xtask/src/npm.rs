//! The npm package as a person meets it: installed from its tarball into an empty project.

use std::path::PathBuf;
use std::process::Command;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, find};
use crate::stages::Workspace;
use crate::{tools, wasm};

/// Its own tests, then how it is packed, typed, imported and bundled.
pub fn run(space: &Workspace, log: &mut Log) -> Result {
    let package = Package::prepare(space, log)?;
    package.own_tests(log)?;
    package.packed(log)?;
    package.typed(log)?;
    package.imported(log)?;
    package.bundled(log)
}

struct Package<'a> {
    space: &'a Workspace,
    node: PathBuf,
    peers: PathBuf,
    builders: PathBuf,
    tarball: PathBuf,
    trap: PathBuf,
    project: PathBuf,
}

impl<'a> Package<'a> {
    fn prepare(space: &'a Workspace, log: &mut Log) -> Result<Self> {
        let node = find("node").ok_or_else(|| Failure::new("node is not installed"))?;
        let npm = find("npm").ok_or_else(|| Failure::new("npm is not installed"))?;
        let tools = tools::folder()?;
        let package = Self {
            space,
            node,
            peers: tools::peers(&tools, &space.root, log)?,
            builders: tools::builders(&tools, &space.root, log)?,
            tarball: wasm::tarball(&space.root.join("dist"))?,
            trap: wasm::trap(space, log)?,
            project: space.target.join("npm-project"),
        };
        let project = &package.project;
        let _ = std::fs::remove_dir_all(project);
        std::fs::create_dir_all(project).doing(format_args!("make {}", project.display()))?;
        std::fs::write(project.join("package.json"), "{ \"private\": true, \"type\": \"module\" }\n")
            .doing("write package.json")?;
        // Offline: it has no dependency, so nothing may be asked for.
        log.run(
            Command::new(npm)
                .args(["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts"])
                .arg(&package.tarball)
                .current_dir(project),
        )?;
        wasm::vectors_in_one(&package.node, &space.root, &project.join("vectors.json"))?;
        for entry in std::fs::read_dir(space.root.join("tests/package")).doing("read tests/package")? {
            let entry = entry.doing("read tests/package")?;
            std::fs::copy(entry.path(), project.join(entry.file_name())).doing("copy a test")?;
        }
        Ok(package)
    }

    fn script(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.node);
        command
            .args(args)
            .current_dir(&self.project)
            .env("SEAMLESS_ROOT", &self.space.root)
            .env("SEAMLESS_PROJECT", &self.project)
            .env("SEAMLESS_PACKAGE", self.project.join("node_modules/@seamless-auth/verifier"))
            .env("SEAMLESS_TRAP_WASM", &self.trap)
            .env("SEAMLESS_NPM", &self.peers)
            .env("SEAMLESS_BUILD", &self.builders);
        command
    }

    fn own_tests(&self, log: &mut Log) -> Result {
        let folder = self.space.root.join("verifier-wasm/js/npm/test");
        let mut tests = Vec::new();
        for entry in std::fs::read_dir(&folder).doing("read the package's tests")? {
            let path = entry.doing("read the package's tests")?.path();
            if path.to_string_lossy().ends_with(".test.mjs") {
                tests.push(path.display().to_string());
            }
        }
        tests.sort();
        let mut args = vec!["--test"];
        args.extend(tests.iter().map(String::as_str));
        log.run(&mut self.script(&args))
    }

    fn packed(&self, log: &mut Log) -> Result {
        let tarball = self.tarball.display().to_string();
        let tool = |name: &str| self.builders.join("node_modules/.bin").join(name).display().to_string();
        log.run(&mut self.script(&[&tool("publint"), "run", "--strict", &tarball]))?;
        // `node10` has no exports map, so nobody finds the entries beside the main one there.
        log.run(&mut self.script(&[
            &tool("attw"),
            &tarball,
            "--no-color",
            "--profile",
            "node16",
            "--exclude-entrypoints",
            "seamless.wasm",
            "verifier.wasm",
            "hmac.wasm",
        ]))
    }

    fn typed(&self, log: &mut Log) -> Result {
        let modules = self.builders.join("node_modules");
        let tsc = modules.join(".bin/tsc").display().to_string();
        let roots = modules.join("@types").display().to_string();
        log.run(&mut self.script(&[
            &tsc,
            "--noEmit",
            "--strict",
            "--module",
            "nodenext",
            "--target",
            "es2022",
            "--lib",
            "es2022,dom,dom.iterable",
            "--typeRoots",
            &roots,
            "types.mts",
        ]))
    }

    fn imported(&self, log: &mut Log) -> Result {
        log.run(&mut self.script(&["--test", "entries.mjs", "entries.cjs", "memory.test.mjs"]))
    }

    fn bundled(&self, log: &mut Log) -> Result {
        log.run(self.script(&["bundle.mjs"]).arg(&self.project))
    }
}
