//! The command line described for others: completions for shells, pages for `man`, and
//! `docs/reference/` for people. All of it is made from the clap definitions.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, Command};

use crate::app::context::Context;
use crate::app::error::{CliError, Exit};

/// Print a script that completes commands and options in a shell.
#[derive(clap::Args, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Print the man page of medalist, or write one for every command.
#[derive(clap::Args, Debug)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Print a page of docs/reference.
#[derive(clap::Args, Debug)]
pub struct ReferenceArgs {
    /// Which page.
    #[arg(value_enum)]
    page: Page,
}

/// The generated pages.
#[derive(clap::ValueEnum, Debug, Clone, Copy)]
enum Page {
    /// `docs/reference/cli.md`.
    Cli,
    /// `docs/reference/environment.md`.
    Environment,
}

/// Runs `completions`.
///
/// # Errors
/// Stdout cannot be written.
pub fn completions(args: &CompletionsArgs, context: &Context) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "medalist", &mut script);
    context.print(String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}

/// Runs `man`.
///
/// # Errors
/// The folder or stdout cannot be written.
pub fn man(args: &ManArgs, context: &Context) -> Result<Exit, CliError> {
    if let Some(dir) = &args.dir {
        fs_err::create_dir_all(dir)?;
        clap_mangen::generate_to(super::command(), dir)?;
        return Ok(Exit::Success);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(super::command()).render(&mut page)?;
    context.print(String::from_utf8_lossy(&page))?;
    Ok(Exit::Success)
}

/// Runs `reference`.
///
/// # Errors
/// Stdout cannot be written.
pub fn reference(args: &ReferenceArgs, context: &Context) -> Result<Exit, CliError> {
    let mut command = super::command();
    command.build();
    let page = match args.page {
        Page::Cli => cli_page(&mut command),
        Page::Environment => environment_page(&command),
    };
    context.print(page)?;
    Ok(Exit::Success)
}

fn cli_page(root: &mut Command) -> String {
    let mut page = String::from(
        "# Command line\n\n\
         Made from the program itself by `cargo run -q -- reference cli > docs/reference/cli.md`; a test fails when this\n\
         page is out of date. `medalist completions SHELL` prints completions for a shell, and `medalist man --dir DIR`\n\
         writes man pages. [exit-codes.md](../exit-codes.md) lists the exit codes.\n\n\
         ## Options of every command\n\n",
    );
    for arg in root.get_arguments().filter(|arg| arg.is_global_set() && !arg.is_hide_set()) {
        describe(arg, &mut page);
    }
    for command in root.get_subcommands_mut() {
        command_section(command, "medalist", &mut page);
    }
    page
}

fn command_section(command: &mut Command, parent: &str, page: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n## {name}\n\n{}\n\n```\n{usage}\n```\n\n", about.trim());
    for arg in command.get_arguments() {
        let everywhere = arg.is_global_set() || matches!(arg.get_id().as_str(), "help" | "version");
        if !everywhere && !arg.is_hide_set() {
            describe(arg, page);
        }
    }
    for inner in command.get_subcommands_mut() {
        command_section(inner, &name, page);
    }
}

/// An item of a list: an argument's names and what it means.
fn describe(arg: &Arg, page: &mut String) {
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let values: Vec<String> = if arg.get_action().takes_values() {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(|name| format!("<{name}>")).collect()
    } else {
        Vec::new()
    };
    let name = [names.join(", "), values.join(" ")].join(" ");
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let _ = write!(
        page,
        "- `{}`: {}",
        name.trim(),
        help.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.display())).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(page, " Default: {}.", defaults.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(page, " Variable: `{}`.", variable.display());
    }
    page.push('\n');
    if arg.get_action().takes_values() {
        for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
            let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
            let _ = writeln!(page, "  - `{}`{help}", value.get_name());
        }
    }
}

/// Variables that are read without standing for an option.
const READ: [(&str, &str); 21] = [
    ("COLUMNS", "the width of tables, where stdout is not a terminal"),
    (
        "DOCKER_HOST",
        "the container engine's socket or address; else the usual sockets of Docker and Podman are tried",
    ),
    ("HOME", "where the caches below are, if the `XDG_` variables are not set"),
    (
        "I_ACCEPT_RUNNING_PRIVILEGED_CONTAINERS",
        "`true` allows agents that ask for privileged containers, as in MLE-bench",
    ),
    ("KAGGLE_API_ENDPOINT", "another server that speaks Kaggle's API"),
    ("KAGGLE_API_TOKEN", "a Kaggle token, or a file with one"),
    ("KAGGLE_CONFIG_DIR", "the folder of `kaggle.json`, in place of `~/.kaggle`"),
    ("KAGGLE_KEY", "with `KAGGLE_USERNAME`, Kaggle credentials"),
    ("KAGGLE_USERNAME", "see `KAGGLE_KEY`"),
    (
        "MEDALIST_GPU_DRIVER_DIR",
        "a directory with the NVIDIA driver's libraries, for GPUs through device nodes",
    ),
    ("MEDALIST_JOB_ENVIRONMENT", "set by the harness in a scheduler's job, for itself"),
    (
        "MEDALIST_JOB_ID",
        "with `MEDALIST_JOB_INDEX` and others that begin so, what a pod's manifest or a job's script tells the harness of its job",
    ),
    ("MEDALIST_JOB_OUTPUT", "a file that `medalist attempt` prints to, in a pod"),
    (
        "MEDALIST_LOG",
        "what is logged to stderr, in the syntax of `tracing-subscriber`, such as `medalist=debug`",
    ),
    (
        "MEDALIST_NODE_DIR",
        "a directory on this machine's own disk for images and containers without an engine, in place of `/var/tmp/medalist-UID`",
    ),
    ("MEDALIST_NVIDIA_SMI", "the `nvidia-smi` to ask for GPUs"),
    (
        "MEDALIST_PODMAN_IMAGES",
        "a store of images that machines share and `--executor podman` reads",
    ),
    ("NVIDIA_VISIBLE_DEVICES", "in a pod, its GPUs, where a device plugin names them"),
    (
        "XDG_CACHE_HOME",
        "the data directory's parent, if `--data-dir` is not given: `$XDG_CACHE_HOME/mle-bench/data`",
    ),
    (
        "XDG_CONFIG_HOME",
        "the parent of `medalist/config.toml`, and of Kaggle's folder if there is no `~/.kaggle`",
    ),
    (
        "XDG_RUNTIME_DIR",
        "where the socket of rootless Podman is, and the harness's control directories",
    ),
];

/// Variables that an agent finds.
const AGENTS: [(&str, &str); 25] = [
    ("AGENT_DIR", "the agent's own folder"),
    ("CODE_DIR", "code left here is kept with the result"),
    ("COMPETITION_ID", "the competition"),
    ("CUDA_VISIBLE_DEVICES", "the attempt's GPUs by UUID"),
    ("DATA_DIR", "the public data and `description.md`"),
    ("GRADING_SERVER_PORT", "the port of the validation service, where it is not 5000"),
    ("HTTP_PROXY, HTTPS_PROXY", "the proxy to the listed hosts, with `--network HOSTS`"),
    ("LOGS_DIR", "logs left here are kept with the result"),
    ("MEDALIST_ATTEMPT", "the attempt's unique name"),
    ("MEDALIST_CPUS", "processors it may use"),
    (
        "MEDALIST_DIRECTION",
        "`lower` or `higher`: which scores of the competition's metric are better",
    ),
    ("MEDALIST_DISK_BYTES", "bytes it may write"),
    ("MEDALIST_GPUS", "the number of its GPUs"),
    ("MEDALIST_GRACE_S", "seconds between SIGTERM and the kill"),
    ("MEDALIST_LLM_BUDGET_URL", "what is spent and left of the budget, with `--llm`"),
    ("MEDALIST_LLM_URL", "the gateway to language models, with `--llm` (docs/llm.md)"),
    ("MEDALIST_MEMORY_BYTES", "memory it may use"),
    ("MEDALIST_TIME_LIMIT_S", "the same as `TIME_LIMIT_SECS`"),
    ("MEDALIST_VALIDATE_URL", "the validation service, for agents that run as processes"),
    ("NVIDIA_DRIVER_CAPABILITIES", "set by the harness, whatever image or agent say"),
    ("NVIDIA_VISIBLE_DEVICES", "set by the harness, whatever image or agent say"),
    ("OMP_NUM_THREADS", "threads of numeric libraries: the processors it may use, rounded up"),
    ("SEED, MLE_SEED, MEDALIST_SEED", "the attempt's seed"),
    ("SUBMISSION_DIR", "`submission.csv` goes here"),
    ("TIME_LIMIT_SECS", "the time limit in seconds"),
];

fn environment_page(root: &Command) -> String {
    let mut page = String::from(
        "# Environment variables\n\n\
         Made from the program itself by `cargo run -q -- reference environment > docs/reference/environment.md`; a test\n\
         fails when this page is out of date.\n\n\
         ## Options\n\nAn option on the command line overrides its variable.\n\n\
         | variable | option | commands |\n| --- | --- | --- |\n",
    );
    let mut found: Vec<(String, String, String)> = Vec::new();
    for arg in root.get_arguments().filter(|arg| arg.is_global_set()) {
        note_variable(arg, "all", &mut found);
    }
    for command in root.get_subcommands() {
        for arg in command.get_arguments().filter(|arg| !arg.is_global_set()) {
            note_variable(arg, command.get_name(), &mut found);
        }
    }
    found.sort();
    for (variable, option, commands) in found {
        let _ = writeln!(page, "| `{variable}` | `{option}` | {commands} |");
    }
    let mut table = |title: &str, head: &str, rows: &[(&str, &str)]| {
        let _ = write!(page, "\n## {title}\n\n| variable | {head} |\n| --- | --- |\n");
        for (names, meaning) in rows {
            let names: Vec<String> = names.split(", ").map(|name| format!("`{name}`")).collect();
            let _ = writeln!(page, "| {} | {meaning} |", names.join(", "));
        }
    };
    table("Others", "meaning", &READ);
    table("What an agent finds", "meaning", &AGENTS);
    page
}

/// Adds an option's variable, or the command to a variable that another command has too.
fn note_variable(arg: &Arg, command: &str, found: &mut Vec<(String, String, String)>) {
    let (Some(variable), Some(long)) = (arg.get_env(), arg.get_long()) else { return };
    let (variable, option) = (variable.display().to_string(), format!("--{long}"));
    match found.iter_mut().find(|known| known.0 == variable && known.1 == option) {
        Some(known) => {
            let _ = write!(known.2, ", {command}");
        }
        None => found.push((variable, option, command.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_and_man_pages_name_every_command() {
        let mut script = Vec::new();
        clap_complete::generate(
            clap_complete::Shell::Bash,
            &mut super::super::command(),
            "medalist",
            &mut script,
        );
        let script = String::from_utf8(script).unwrap();
        let dir = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(super::super::command(), dir.path()).unwrap();
        for command in super::super::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let name = command.get_name();
            assert!(script.contains(name), "{name}");
            assert!(dir.path().join(format!("medalist-{name}.1")).is_file(), "{name}");
        }
    }

    #[test]
    fn tables_of_variables_are_sorted() {
        assert!(READ.is_sorted() && AGENTS.is_sorted());
    }
}
