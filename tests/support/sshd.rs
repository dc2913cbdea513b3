//! OpenSSH's sshd under test, as root.
