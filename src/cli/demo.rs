//! `medalist demo`: the whole way on embedded data, in one command.

use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use super::run::{executor_error, make_plan, open_executor, run_plan, start_runtime};
use super::selection::Selection;
use crate::error::{CliError, Exit};
use crate::executor::{Executor as _, docker::Docker};
use crate::plan::{ExecutorKind, Plan};
use crate::store::{GroupDir, write_json};

/// Prepare four small competitions, run two agents on them in sealed containers, grade, and write a report.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where everything is put.
    #[arg(long, default_value = "medalist-demo", value_name = "DIR")]
    dir: PathBuf,
    /// What runs attempts; docker if a daemon answers, else process (not sealed).
    #[arg(long, value_enum, env = "MEDALIST_EXECUTOR")]
    executor: Option<ExecutorKind>,
    /// Seeds of each agent.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    seeds: u32,
}

/// Runs the subcommand.
///
/// # Errors
/// Whatever `prepare`, `run` and `report` may say.
pub fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let context = Context { data_dir: args.dir.join("data"), runs_dir: args.dir.join("runs"), ..context.clone() };
    let runtime = start_runtime()?;
    let executor = match args.executor {
        Some(kind) => kind,
        None => runtime.block_on(choose_executor(&context)),
    };

    let selection = Selection { suite: Some("demo".into()), ..Selection::default() };
    context.say("preparing four competitions from embedded data");
    super::prepare::prepare_selection(&selection, &context)?;

    let mut groups = Vec::new();
    let mut worst = Exit::Success;
    for agent in ["sample", "baseline"] {
        let run = super::run::Args {
            agent: Some(agent.to_owned()),
            selection: selection.clone(),
            seeds: args.seeds,
            executor,
            ..super::run::Args::small()
        };
        let plan = make_plan(&run, &context)?;
        let stats = runtime.block_on(async {
            let (executor, info) = open_executor(&plan).await?;
            let (dir, name) = GroupDir::create(&context.runs_dir, &plan.group)?;
            let plan = Plan { group: name, ..plan };
            write_json(&dir.plan(), &plan)?;
            let stats = run_plan(plan, &dir, executor, info, None, &context).await?;
            groups.push(dir);
            Ok::<_, CliError>(stats)
        })?;
        let exit = super::run::exit_of(&stats);
        if exit == Exit::Interrupted {
            return Ok(exit);
        }
        if exit != Exit::Success {
            worst = exit;
        }
    }
    let report_dir = args.dir.join("report");
    let roots: Vec<PathBuf> = groups.iter().map(|group| group.root().to_owned()).collect();
    super::report::write_report(&roots, &report_dir, &context)?;
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

/// Docker where a daemon answers, and a plain word about it where none does.
async fn choose_executor(context: &Context) -> ExecutorKind {
    let checked = async { Docker::connect().await?.check().await };
    match tokio::time::timeout(Duration::from_secs(10), checked).await {
        Ok(Ok(_)) => ExecutorKind::Docker,
        Ok(Err(error)) => {
            context.warn(executor_error(error).render().trim_end());
            context.warn("going on with `--executor process`, which is NOT sealed");
            ExecutorKind::Process
        }
        Err(_) => {
            context.warn("the container engine does not answer; going on with `--executor process`, which is NOT sealed");
            ExecutorKind::Process
        }
    }
}
