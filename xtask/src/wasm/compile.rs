//! From a crate to a small module: rustc, wasm-bindgen, wasm-opt.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outcome::{Doing, Failure, Result};
use crate::process::{Log, cargo};
use crate::remap;

/// What all of them are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What Node 20, Deno, Bun, workerd, Envoy and browsers of the last years have; `--all-features` writes what some refuse.
const FEATURES: [&str; 6] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
];

/// A crate to compile.
pub struct Module {
    package: &'static str,
    library: &'static str,
    slim: bool,
    feature: Option<&'static str>,
}

impl Module {
    /// With the crate's default features.
    pub fn new(package: &'static str, library: &'static str) -> Self {
        Self { package, library, slim: false, feature: None }
    }

    /// Without them, and small before fast.
    pub fn without_defaults(mut self) -> Self {
        self.slim = true;
        self
    }

    /// With one more.
    pub fn with(mut self, feature: &'static str) -> Self {
        self.feature = Some(feature);
        self
    }

    fn profile(&self) -> &'static str {
        if self.slim { "wasm-slim" } else { "wasm" }
    }
}

/// Where and with what to compile.
pub struct Compiler {
    root: PathBuf,
    target: PathBuf,
    node: PathBuf,
    npm: PathBuf,
    bindgen: PathBuf,
    flags: String,
}

impl Compiler {
    /// `root` is what is compiled; `host_target` is where this clone's own tools are built.
    pub fn new(
        root: &Path,
        target: &Path,
        host_target: &Path,
        node: PathBuf,
        npm: PathBuf,
        log: &mut Log,
    ) -> Result<Self> {
        // The unoptimised profile optimises dependencies, and the tests build those anyway.
        log.run(
            cargo()
                .args(["build", "--package", "xtask-wasm", "--locked"])
                .current_dir(root)
                .env("CARGO_TARGET_DIR", host_target),
        )?;
        let mut flags = vec![
            "-Ctarget-feature=+simd128".to_owned(),
            // No call of ours nests deep, and what is reserved for the stack is memory of every instance.
            "-Clink-arg=-zstack-size=131072".to_owned(),
        ];
        flags.extend(remap::rustc(root, target)?);
        let flags = flags.join("\u{1f}");
        let bindgen = host_target.join("debug/xtask-wasm");
        Ok(Self { root: root.into(), target: target.into(), node, npm, bindgen, flags })
    }

    /// The sources.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for what is made on the way.
    pub fn work(&self, name: &str) -> PathBuf {
        self.target.join("steps").join(name)
    }

    /// Node, for one of our build scripts: they find esbuild and TypeScript through `SEAMLESS_BUILD`.
    pub fn node(&self) -> Command {
        let mut node = Command::new(&self.node);
        node.current_dir(&self.root).env("SEAMLESS_BUILD", &self.npm);
        node
    }

    /// Compiles one crate alone: over the workspace, features would unify.
    pub fn compile(&self, module: &Module, log: &mut Log) -> Result<PathBuf> {
        let mut cargo = cargo();
        cargo
            .args([
                "build",
                "--profile",
                module.profile(),
                "--target",
                TARGET,
                "--lib",
                "--locked",
                "--package",
                module.package,
            ])
            .args(module.slim.then_some("--no-default-features"))
            .args(module.feature.map(|feature| format!("--features={feature}")));
        self.set(&mut cargo);
        log.run(&mut cargo)?;
        Ok(self.target.join(TARGET).join(module.profile()).join(format!("{}.wasm", module.library)))
    }

    /// Runs the wasm-bindgen-test suite of a crate: in Node, or in headless Chromium by what is written in `webdriver`.
    pub fn test(&self, package: &str, webdriver: Option<&Path>, log: &mut Log) -> Result {
        let mut cargo = cargo();
        let runner = format!("target.{TARGET}.runner=[{:?},'test-runner']", self.bindgen);
        cargo
            .args(["test", "--target", TARGET, "--locked", "--package", package])
            // Its harness needs std, which the modules that are shipped go without.
            .args(["--features", "std", "--tests", "--config", &runner])
            .env_remove("WASM_BINDGEN_USE_BROWSER");
        if let Some(webdriver) = webdriver {
            cargo.env("WASM_BINDGEN_USE_BROWSER", "1").env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", webdriver);
        }
        self.set(&mut cargo);
        log.run(&mut cargo)
    }

    fn set(&self, cargo: &mut Command) {
        cargo
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", &self.flags)
            .env_remove("RUSTFLAGS")
            .current_dir(&self.root);
    }

    /// Compiles, binds and optimises; a folder with `NAME.wasm` and its glue `NAME.js`.
    pub fn bindgen(&self, module: &Module, name: &str, log: &mut Log) -> Result<PathBuf> {
        let compiled = self.compile(module, log)?;
        let folder = self.work(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).doing(format_args!("make {}", folder.display()))?;
        log.run(Command::new(&self.bindgen).arg("bindgen").args([&compiled, &folder]).arg(name))?;
        let bound = folder.join(format!("{name}_bg.wasm"));
        self.optimise(&bound, &folder.join(format!("{name}.wasm")), log)?;
        std::fs::remove_file(&bound).doing("remove what was optimised")?;
        Ok(folder)
    }

    /// wasm-opt, which also takes away names and other sections that nobody reads any more.
    pub fn optimise(&self, from: &Path, to: &Path, log: &mut Log) -> Result {
        let wasm_opt = self.npm.join("node_modules/.bin/wasm-opt");
        if !wasm_opt.exists() {
            return Err(Failure::new("wasm-opt is not among the build tools of package.json"));
        }
        log.run(
            Command::new(&self.node)
                .arg(wasm_opt)
                .arg("-O3")
                .args(FEATURES)
                .args(["--strip-debug", "--strip-producers", "--strip-target-features", "-o"])
                .args([to, from]),
        )
    }
}
