//! OpenSSH's sshd with our forced command.
