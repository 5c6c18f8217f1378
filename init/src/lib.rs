//! The protocol between the harness and its init, and the init's sources for the harness's build
//! script.

pub mod protocol;

/// Every source file of the program: its name and its text. The first is the root.
pub const SOURCES: [(&str, &str); 16] = [
    ("main.rs", include_str!("main.rs")),
    ("cell.rs", include_str!("cell.rs")),
    ("dir.rs", include_str!("dir.rs")),
    ("forward.rs", include_str!("forward.rs")),
    ("gpus.rs", include_str!("gpus.rs")),
    ("kernel.rs", include_str!("kernel.rs")),
    ("log.rs", include_str!("log.rs")),
    ("measure.rs", include_str!("measure.rs")),
    ("mounts.rs", include_str!("mounts.rs")),
    ("protocol.rs", include_str!("protocol.rs")),
    ("seccomp.rs", include_str!("seccomp.rs")),
    ("setup.rs", include_str!("setup.rs")),
    ("sys.rs", include_str!("sys.rs")),
    ("trust.rs", include_str!("trust.rs")),
    ("user.rs", include_str!("user.rs")),
    ("validate.rs", include_str!("validate.rs")),
];

#[cfg(test)]
mod tests {
    use super::SOURCES;

    #[test]
    fn no_source_file_is_left_out() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lib.rs")
            .collect();
        let mut listed: Vec<String> = SOURCES.iter().map(|(name, _)| (*name).to_string()).collect();
        assert_eq!(listed[0], "main.rs");
        there.sort();
        listed.sort();
        assert_eq!(there, listed);
    }
}
