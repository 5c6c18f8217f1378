//! The agents that the harness carries, as text: those it compiles itself (their settings, and their
//! sources for its build script), and folders that images are built from.

/// The models of `baseline`, which also say how hard a competition is.
mod baseline {
    mod features;
    mod forecast;
    mod image;
    #[path = "../ladder.rs"]
    pub mod ladder;
    mod learn;
    mod linear;
    mod net;
    mod rng;
    mod solve;
    mod table;
    mod task;
    mod trees;
}

pub use baseline::ladder;

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
            "solve.rs",
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
/// An agent that the harness carries as a folder, to build its image from.
#[derive(Debug, Clone, Copy)]
pub struct Folder {
    /// Its id.
    pub id: &'static str,
    /// Its files: names and texts.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! folders {
    ($($id:literal: $($name:literal),+;)+) => {
        /// All of them.
        pub const FOLDERS: &[Folder] = &[$(Folder { id: $id, files: sources!($id: $($name),+) }),+];
    };
}

folders! {
    "aibuildai": "README.md", "agent.toml";
    "aide": "README.md", "agent.toml", "requirements.in", "requirements.txt", "run.py";
    "aira-dojo": "README.md", "agent.toml", "best.py", "start.sh";
    "autogluon": "README.md", "agent.py", "agent.toml", "requirements.in", "requirements.txt", "task.py";
    "claude-code": "README.md", "agent.toml", "requirements.in", "requirements.txt";
    "claude-code-acp": "README.md", "agent.toml", "requirements.in", "requirements.txt";
    "codex": "README.md", "agent.toml", "requirements.in", "requirements.txt", "start.sh";
    "flaml": "README.md", "agent.py", "agent.toml", "requirements.in", "requirements.txt", "task.py";
    "kapso": "README.md", "agent.toml", "start.sh";
    "mini-swe-agent": "README.md", "agent.toml", "requirements.in", "requirements.txt";
    "ml-master": "README.md", "agent.toml", "start.sh";
    "mlagentbench": "README.md", "agent.toml", "run.py";
    "mlevolve": "README.md", "agent.toml", "start.sh";
    "openhands": "README.md", "agent.toml", "requirements.in", "requirements.txt", "run.py";
    "rdagent": "README.md", "agent.toml", "requirements.in", "requirements.txt", "run.py";
    "smolagents": "README.md", "agent.toml", "requirements.in", "requirements.txt", "run.py";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_a_folder_is_left_out() {
        for folder in FOLDERS {
            let dir = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/{}"), folder.id);
            let mut there: Vec<String> = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            there.sort();
            let mut listed: Vec<&str> = folder.files.iter().map(|(name, _)| *name).collect();
            listed.sort_unstable();
            assert_eq!(there, listed, "{}", folder.id);
        }
    }

    #[test]
    fn the_baselines_read_tables_alike() {
        let task = |id: &str| {
            let folder = FOLDERS.iter().find(|folder| folder.id == id).unwrap();
            folder.files.iter().find(|(name, _)| *name == "task.py").unwrap().1
        };
        assert!(
            task("flaml") == task("autogluon"),
            "copy agents/flaml/task.py to agents/autogluon/"
        );
    }

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
