//! Describes the machine that a measurement was made on.

use std::process::Command;

use crate::process::output;

/// Name and value, in the order to print them.
pub fn describe() -> Vec<(&'static str, String)> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
            .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cpu = file("/proc/cpuinfo");
    let flags = field(&cpu, "flags");
    let has = |flag: &str| flags.split(' ').any(|known| known == flag);
    let extras: Vec<&str> =
        ["avx2", "avx512f", "sha_ni", "hypervisor"].into_iter().filter(|flag| has(flag)).collect();
    let tool = |program: &str, arg: &str| {
        output(Command::new(program).arg(arg))
            .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
    };
    vec![
        ("processor", format!("{} ({})", field(&cpu, "model name"), extras.join(", "))),
        ("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("memory", field(&file("/proc/meminfo"), "MemTotal")),
        ("kernel", tool("uname", "-sr")),
        ("rustc", tool("rustc", "--version")),
    ]
}
