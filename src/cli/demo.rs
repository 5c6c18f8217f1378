//! `medalist demo`: the whole way on embedded data, in one command.

use std::path::PathBuf;
use std::time::Duration;

use super::typed;
use crate::app::context::Context;
use crate::app::error::{CliError, Exit};
use crate::app::run::{exit_of, open_executor, run_new_group, start_runtime};
use crate::attempt::plan::ExecutorKind;

/// Prepare four small competitions, run two agents on them in sealed containers, grade, and write a
/// report.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Directory for data, runs and the report.
    #[arg(long, default_value = "medalist-demo", value_name = "DIR")]
    dir: PathBuf,
    /// Executor; docker if an engine answers, else namespaces if this machine allows them, else process
    /// (not sealed).
    #[arg(long, value_enum, env = "MEDALIST_EXECUTOR")]
    executor: Option<ExecutorKind>,
    /// Number of seeds per agent.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    seeds: u32,
}

/// Runs the subcommand.
///
/// # Errors
/// Whatever `prepare`, `run` and `report` may say.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let context = Context {
        data_dir: args.dir.join("data"),
        runs_dir: args.dir.join("runs"),
        ..context.clone()
    };
    let runtime = start_runtime()?;
    let executor = match args.executor {
        Some(kind) => kind,
        None => runtime.block_on(choose_executor(&context)),
    };

    // The demo is made of the commands that a user would type, and says so.
    let say = |words: &[String]| context.say(format_args!("\n$ medalist {}", words.join(" ")));
    let prepare = words("prepare --suite demo");
    say(&prepare);
    super::prepare::run(&typed(prepare.into_iter().skip(1))?, &context)?;

    let mut groups = Vec::new();
    let mut worst = Exit::Success;
    for agent in ["sample", "baseline"] {
        let seeds = args.seeds;
        let command = words(&format!(
            "run --agent {agent} --suite demo --seeds {seeds} --executor {executor} --timeout 90s --grace 10s --cpus 1 --memory 768MiB \
             --disk 1GiB"
        ));
        say(&command);
        let args: super::run::Args = typed(command.into_iter().skip(1))?;
        let plan = args.plan(&context)?;
        let (dir, summary) = runtime.block_on(run_new_group(plan, None, &context))?;
        groups.push(dir.root().display().to_string());
        match exit_of(&summary) {
            Exit::Success => {}
            Exit::Interrupted => return Ok(Exit::Interrupted),
            other => worst = other,
        }
    }
    let report_dir = args.dir.join("report");
    let mut command = vec!["report".to_owned()];
    command.append(&mut groups);
    command.extend(["--out".to_owned(), report_dir.display().to_string()]);
    say(&command);
    super::report::run(&typed(command.into_iter().skip(1))?, &context)?;
    if executor == ExecutorKind::Process {
        context.warn(
            "no container was used: agents could see this machine, its network and the answers. Start Docker and run the demo again \
             for sealed attempts",
        );
    }
    context.say(format_args!(
        "\nreport       {}\nrun groups   {}\nnext         medalist run --agent YOUR_AGENT --suite demo --data-dir {}   (docs/agents.md says how to package it)",
        report_dir.join("report.html").display(),
        context.runs_dir.display(),
        context.data_dir.display(),
    ));
    Ok(worst)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Docker where a daemon answers, else containers without one; where there is neither, a plain word
/// about it.
async fn choose_executor(context: &Context) -> ExecutorKind {
    let asked = open_executor(ExecutorKind::Docker, "demo");
    let why = match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(Ok(_)) => return ExecutorKind::Docker,
        Ok(Err(error)) => error.render(),
        Err(_) => "the container engine does not answer".to_owned(),
    };
    if open_executor(ExecutorKind::Namespaces, "demo").await.is_ok() {
        return ExecutorKind::Namespaces;
    }
    context.warn(why.trim_end());
    context.warn("going on with `--executor process`, which is NOT sealed");
    ExecutorKind::Process
}
