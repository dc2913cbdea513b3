//! The commands of the README and of docs/, each page from an empty home.
//!
//! Every block fenced as `sh` is run, in order, in the page's home; as `sh root` only where root is allowed; any
//! other never. A block that starts `serve` goes on while the later ones run, and its pasted lines are tried too.

use std::path::{Path, PathBuf};

use seamless_tests::home::{ED25519, Home};
use seamless_tests::process::{Running, run};
use seamless_tests::serve::pasted;

/// A fenced block.
struct Block {
    line: usize,
    info: String,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                open = Some(Block { line: number + 1, info: info.trim().to_owned(), text: String::new() });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// What stands for the tools that the pages call: the build has been made, and root needs no sudo.
const PRELUDE: &str = r#"
set -eu
cargo() {
    case "$1 ${2-} ${3-}" in
        "run --release --") shift 3; seamless "$@" ;;
        "xtask "*) ;;
        *) echo "this page calls cargo $*, which its test doesn't know" >&2; return 1 ;;
    esac
}
sudo() { "$@"; }
git() { :; }
cd() { case "$1" in seamless) ;; *) builtin cd "$@" ;; esac; }
"#;

/// A folder that looks like a clone, but that may be written to.
fn clone_in(home: &Home) -> PathBuf {
    let clone = home.join("tmp").join("seamless");
    let _ = run(home.command("mkdir").arg(&clone)).ok();
    for entry in std::fs::read_dir(seamless_tests::root()).expect("the clone").flatten() {
        let _ = std::os::unix::fs::symlink(entry.path(), clone.join(entry.file_name()));
    }
    clone
}

/// The README, then every page of docs/.
fn documents() -> Vec<PathBuf> {
    let root = seamless_tests::root();
    let mut pages: Vec<_> =
        std::fs::read_dir(root.join("docs")).expect("docs/").flatten().map(|entry| entry.path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages.insert(0, root.join("README.md"));
    pages
}

fn blocks_of(path: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    blocks(&text)
}

#[test]
fn commands_run_from_an_empty_home() {
    let mut most = (0, 0);
    for path in documents() {
        let counts = run_page(&path);
        if path.ends_with("README.md") {
            most = counts;
        }
    }
    let (ran, served) = most;
    assert!(ran >= 2, "README.md has at least two blocks fenced as `sh`, not {ran}");
    assert!(served > 0, "README.md has a block fenced as `sh` that starts `serve`");
}

/// Runs a page in a home of its own; gives how many blocks ran, and how many of them serve.
fn run_page(path: &Path) -> (usize, usize) {
    let home = Home::real();
    let _ = home.default_key(ED25519);
    let clone = clone_in(&home);
    let mut serving: Vec<Running> = Vec::new();
    let mut ran = 0;
    for block in blocks_of(path) {
        if block.info != "sh" {
            continue;
        }
        ran += 1;
        let script = format!("{PRELUDE}{}", block.text);
        let mut bash = bash(&home, &clone, &script);
        let place = format!("{}, the block at line {}", path.display(), block.line);
        if serves(&block.text) {
            let mut serve = Running::start(&mut bash);
            let lines = serve.wait_for("the banner of the page's `serve`", |serve| {
                pasted(&format!("{}{}", serve.stdout(), serve.stderr()))
            });
            // The three lines, as a reader would paste them next.
            let [token, accepted, _] = &lines;
            let done = run(&mut self::bash(&home, &clone, &format!("set -eu\n{token}\n{accepted}\n")));
            assert_eq!(done.code, Some(0), "{place}, its pasted lines:\n{done}");
            serving.push(serve);
            continue;
        }
        let done = run(&mut bash);
        assert_eq!(done.code, Some(0), "{place}:\n{done}");
    }
    (ran, serving.len())
}

#[test]
fn root_commands_run() {
    if !seamless_tests::system_allowed() {
        seamless_tests::skip::skip("the documents' root commands need root, and --system or CI=true");
        return;
    }
    let _installed = Installed::new();
    let _left_over = LeftOver::watch();
    for path in documents() {
        let home = Home::new();
        // sshd accepts nothing from a private folder, so the installed one is called.
        std::fs::remove_file(home.join("bin/seamless")).expect("remove the private copy");
        let _ = home.default_key(ED25519);
        let clone = clone_in(&home);
        for block in blocks_of(&path).into_iter().filter(|block| block.info == "sh root") {
            let done = run(&mut bash(&home, &clone, &format!("{PRELUDE}{}", block.text)));
            assert_eq!(done.code, Some(0), "{}, the block at line {}:\n{done}", path.display(), block.line);
        }
    }
}

/// The realm of the pages, which each of them deletes; where a block failed it would stay.
struct LeftOver {
    ours: bool,
}

impl LeftOver {
    const REALM: &str = "corp";

    fn watch() -> Self {
        let taken = run(std::process::Command::new("id").arg(Self::REALM)).code == Some(0);
        Self { ours: !taken }
    }
}

impl Drop for LeftOver {
    fn drop(&mut self) {
        if self.ours {
            let seamless = ["/usr/local/bin/seamless", "delete", Self::REALM, "--yes"];
            let _ = std::process::Command::new(seamless[0]).args(&seamless[1..]).output();
        }
    }
}

/// The binary where sshd accepts it: in a folder that only root can write to.
struct Installed(Option<&'static str>);

impl Installed {
    fn new() -> Self {
        const PLACE: &str = "/usr/local/bin/seamless";
        // Somebody's own stays as it is.
        let free = !Path::new(PLACE).exists();
        if free {
            let source = seamless_tests::binary();
            let _ =
                run(std::process::Command::new("install").args(["-m", "755"]).arg(source).arg(PLACE)).ok();
        }
        Self(free.then_some(PLACE))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            let _ = std::fs::remove_file(place);
        }
    }
}

fn bash(home: &Home, folder: &Path, script: &str) -> std::process::Command {
    let mut bash = home.command("bash");
    bash.args(["--norc", "--noprofile", "-c", script]).current_dir(folder);
    bash
}

fn serves(text: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        line.starts_with("cargo run --release -- serve") || words.starts_with(&["seamless", "serve"])
    })
}

#[test]
fn blocks_are_found() {
    let found = blocks("x\n```sh\na\nb\n```\n\n```console\nc\n```\n```sh root\nd\n```\n");
    let shown: Vec<_> =
        found.iter().map(|block| (block.line, block.info.as_str(), block.text.as_str())).collect();
    assert_eq!(shown, [(2, "sh", "a\nb\n"), (7, "console", "c\n"), (10, "sh root", "d\n")]);
    assert!(serves("cargo run --release -- serve\n") && !serves("curl x\n"));
}
