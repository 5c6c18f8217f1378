//! The built-in agents as text: their settings for the harness, their sources for its build script.

/// An agent that the harness carries.
#[derive(Debug, Clone, Copy)]
pub struct Agent {
    /// Its id.
    pub id: &'static str,
    /// Its `agent.toml`.
    pub settings: &'static str,
    /// The program that it is, and the folder of its sources: agents that differ by arguments share one.
    pub program: &'static str,
    /// Every source file: its name and its text. The first is the root.
    pub sources: &'static [(&'static str, &'static str)],
}

macro_rules! sources {
    ($folder:literal: $($name:literal),+) => {
        &[$(($name, include_str!(concat!($folder, "/", $name)))),+]
    };
}

/// All of them.
pub const AGENTS: [Agent; 4] = [
    Agent {
        id: "sample",
        settings: include_str!("sample/agent.toml"),
        program: "sample",
        sources: sources!("sample": "main.rs"),
    },
    Agent {
        id: "baseline",
        settings: include_str!("baseline/agent.toml"),
        program: "baseline",
        sources: sources!(
            "baseline": "main.rs",
            "features.rs",
            "forecast.rs",
            "image.rs",
            "learn.rs",
            "linear.rs",
            "net.rs",
            "rng.rs",
            "submit.rs",
            "table.rs",
            "task.rs",
            "trees.rs"
        ),
    },
    Agent {
        id: "flat",
        settings: include_str!("reference/flat.toml"),
        program: "reference",
        sources: REFERENCE,
    },
    Agent {
        id: "hierarchical",
        settings: include_str!("reference/hierarchical.toml"),
        program: "reference",
        sources: REFERENCE,
    },
];

const REFERENCE: &[(&str, &str)] = sources!(
    "reference": "main.rs",
    "attempt.rs",
    "board.rs",
    "http.rs",
    "journal.rs",
    "json.rs",
    "llm.rs",
    "prompts.rs",
    "settings.rs",
    "shell.rs",
    "sys.rs",
    "team.rs",
    "tools.rs",
    "worker.rs"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_file_is_left_out() {
        for agent in AGENTS {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/");
            let mut there: Vec<String> = std::fs::read_dir(format!("{folder}{}", agent.program))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".rs"))
                .collect();
            let mut listed: Vec<String> =
                agent.sources.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(listed[0], "main.rs");
            there.sort();
            listed.sort();
            assert_eq!(there, listed, "{}", agent.id);
        }
    }
}
