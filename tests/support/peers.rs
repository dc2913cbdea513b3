//! Other people's implementations: itsdangerous, PyJWT, jose, paramiko.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::process::run_with;
use crate::skip::{find, skip};

/// A program that answers lines of JSON, of tests/peers.
#[derive(Debug)]
pub struct Peer {
    program: PathBuf,
    script: PathBuf,
    npm: Option<String>,
}

impl Peer {
    /// The original's signer.
    #[must_use]
    pub fn itsdangerous() -> Option<Self> {
        Self::python("itsdangerous_peer.py")
    }

    /// PyJWT.
    #[must_use]
    pub fn pyjwt() -> Option<Self> {
        Self::python("pyjwt_peer.py")
    }

    /// paramiko, made to attack; see [`crate::attacker`].
    #[must_use]
    pub fn ssh_attacker() -> Option<Self> {
        Self::python("ssh_attacker.py")
    }

    /// npm jose.
    #[must_use]
    pub fn jose() -> Option<Self> {
        let (Some(program), Ok(npm)) = (find("node"), std::env::var("SEAMLESS_NPM")) else {
            skip("no npm packages; `cargo xtask test` installs them where Node is");
            return None;
        };
        Some(Self { program, script: crate::root().join("tests/peers/jose_peer.mjs"), npm: Some(npm) })
    }

    fn python(script: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("SEAMLESS_PYTHON").map(PathBuf::from) else {
            skip("no Python packages; `cargo xtask test` installs them where Python 3 is");
            return None;
        };
        Some(Self { program, script: crate::root().join("tests/peers").join(script), npm: None })
    }

    /// Asks once.
    ///
    /// # Panics
    /// If it does not answer.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, question: &Value) -> Value {
        self.ask_all(std::slice::from_ref(question)).remove(0)
    }

    /// Asks many questions of one process.
    ///
    /// # Panics
    /// If it does not answer each.
    #[track_caller]
    #[must_use]
    pub fn ask_all(&self, questions: &[Value]) -> Vec<Value> {
        let mut command = Command::new(&self.program);
        command.arg(&self.script).env_clear().env("PATH", "/usr/bin:/bin");
        if let Some(npm) = &self.npm {
            command.env("SEAMLESS_NPM", npm);
        }
        let input: String = questions.iter().map(|question| format!("{question}\n")).collect();
        let answers = run_with(&mut command, input.as_bytes()).ok().json_lines();
        assert_eq!(answers.len(), questions.len(), "an answer to each question was expected of {self:?}");
        answers
    }
}
