//! `medalist agents list|show|build|doctor`: the agents that there are, and whether they can run here.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use medalist_reports::table::{Column, Look, render, wrap};
use serde::Serialize;

use super::doctor::findings_text;
use crate::app::agents;
use crate::app::context::Context;
use crate::app::doctor::{Finding, Level};
use crate::app::error::{CliError, Exit};
use crate::app::run::{executor_error, start_runtime};
use crate::app::terminal::output_width;
use crate::attempt::agents::{AgentSpec, Build, Needs};
use crate::sandbox::docker::DockerExecutor;

/// Look at the agents that there are, and make their images.
#[derive(Args, Debug)]
pub(crate) struct AgentsArgs {
    #[command(subcommand)]
    command: AgentsCommand,
}

#[derive(Subcommand, Debug)]
enum AgentsCommand {
    /// List the built-in agents and those below the agents folder.
    List(ListArgs),
    /// Show what is known of one agent: what it needs, its roles, how it is started.
    Show(OneArgs),
    /// Make an agent's image: download its packages, make its base, build.
    Build(BuildArgs),
    /// Check what agents need to run here: engine, base image, packages, image.
    Doctor(DoctorArgs),
}

/// Where agents are looked for.
#[derive(Args, Debug)]
struct Where {
    /// Directory of agents.
    #[arg(long, default_value = "agents", env = "MEDALIST_AGENTS_DIR", value_name = "DIR")]
    agents_dir: PathBuf,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    place: Where,
    /// Print a JSON array; its objects are those of `show --json`.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct OneArgs {
    /// The agent's id, or a folder with agent.toml.
    id: String,
    #[command(flatten)]
    place: Where,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct BuildArgs {
    /// The agent's id, or a folder with agent.toml.
    id: String,
    #[command(flatten)]
    place: Where,
}

#[derive(Args, Debug)]
struct DoctorArgs {
    /// The agent's id, or a folder with agent.toml; all agents if not given.
    id: Option<String>,
    #[command(flatten)]
    place: Where,
    /// Print the findings as JSON, by agent.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &AgentsArgs, context: &Context) -> Result<Exit, CliError> {
    match &args.command {
        AgentsCommand::List(args) => list(args, context),
        AgentsCommand::Show(args) => {
            let agent = agents::find(&args.id, &args.place.agents_dir)?;
            let facts = Facts::new(&agent);
            context.print(match args.json {
                true => format!("{}\n", serde_json::to_string_pretty(&facts)?),
                false => page(&facts, output_width().min(100)),
            })?;
            Ok(Exit::Success)
        }
        AgentsCommand::Build(args) => {
            let agent = agents::find(&args.id, &args.place.agents_dir)?;
            let reference = start_runtime()?.block_on(build(&agent, context))?;
            context.print(format_args!("{reference}\n"))?;
            Ok(Exit::Success)
        }
        AgentsCommand::Doctor(args) => doctor(args, context),
    }
}

/// What is known of an agent, as `--json` prints it.
#[derive(Serialize)]
struct Facts<'a> {
    id: &'a str,
    description: &'a str,
    version: Option<&'a str>,
    licence: Option<&'a str>,
    /// How its image comes to be.
    build: &'static str,
    folder: Option<String>,
    image: &'a str,
    takes_model: bool,
    backbone: &'a str,
    needs: &'a Needs,
    roles: &'a std::collections::BTreeMap<String, String>,
    packages: Option<String>,
    command: &'a [String],
    env: &'a std::collections::BTreeMap<String, String>,
    privileged: bool,
}

impl<'a> Facts<'a> {
    fn new(agent: &'a AgentSpec) -> Self {
        let details = &agent.details;
        let (build, folder) = match &agent.build {
            Build::Embedded { .. } => ("a program that medalist carries", None),
            Build::Dockerfile { dir, .. } => ("built from its folder", Some(dir)),
            Build::Image => ("an image that is there already", None),
        };
        Self {
            id: &agent.id,
            description: &agent.description,
            version: agent.version.as_deref(),
            licence: details.licence.as_deref(),
            build,
            folder: folder.map(|dir| dir.display().to_string()),
            image: &agent.image,
            takes_model: agent.takes_model(),
            backbone: &agent.backbone,
            needs: &details.needs,
            roles: &details.roles,
            packages: details.packages.as_ref().map(|path| path.display().to_string()),
            command: &agent.command,
            env: &agent.env,
            privileged: agent.privileged,
        }
    }

    /// The dialects that it speaks, in words.
    fn speaks(&self) -> String {
        let spoken: Vec<String> = self.needs.llm.iter().map(ToString::to_string).collect();
        spoken.join(", ")
    }
}

fn list(args: &ListArgs, context: &Context) -> Result<Exit, CliError> {
    const COLUMNS: [Column; 5] = [
        Column::new("ID"),
        Column::new("VERSION").optional(3),
        Column::new("LLM").optional(4),
        Column::new("LICENCE").optional(2),
        Column::new("DESCRIPTION").cut(),
    ];
    let mut found = Vec::new();
    let mut exit = Exit::Success;
    for (name, agent) in agents::all(&args.place.agents_dir) {
        match agent {
            Ok(agent) => found.push(agent),
            Err(error) => {
                exit = Exit::BadInput;
                context.warn(format_args!("`{name}` is passed over: {}", error.message_chain()));
            }
        }
    }
    let facts: Vec<Facts<'_>> = found.iter().map(Facts::new).collect();
    if args.json {
        context.print(format_args!("{}\n", serde_json::to_string_pretty(&facts)?))?;
        return Ok(exit);
    }
    let or_none = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let rows: Vec<Vec<String>> = facts
        .iter()
        .map(|facts| {
            vec![
                facts.id.to_owned(),
                or_none(facts.version),
                facts.speaks(),
                or_none(facts.licence),
                facts.description.to_owned(),
            ]
        })
        .collect();
    context.print(render(&COLUMNS, &rows, Look::plain(output_width())))?;
    Ok(exit)
}

/// The sheet that `show` prints, at most `width` characters wide where words allow it.
fn page(facts: &Facts<'_>, width: usize) -> String {
    const INDENT: usize = 13;
    let mut text = format!("{}\n\n", facts.description);
    let mut field = |name: &str, value: &str| {
        let lines = wrap(value, width.saturating_sub(INDENT), 0);
        for (index, line) in lines.split('\n').enumerate() {
            let name = if index == 0 { name } else { "" };
            let _ = writeln!(text, "{name:<INDENT$}{line}");
        }
    };
    field("id", facts.id);
    field("version", facts.version.unwrap_or("not stated"));
    field("licence", facts.licence.unwrap_or("not stated"));
    field("image", &format!("`{}`, {}", facts.image, facts.build));
    if let Some(folder) = &facts.folder {
        field("folder", folder);
    }
    field("packages", facts.packages.as_deref().unwrap_or("none"));
    let needs = [
        facts.needs.python.as_ref().map(|python| format!("Python {python}")),
        (!facts.needs.llm.is_empty()).then(|| format!("a language model ({})", facts.speaks())),
        facts.needs.gpu.then(|| "a GPU".to_owned()),
        facts.needs.network.then(|| "a network while its image is built".to_owned()),
    ];
    let needs: Vec<String> = needs.into_iter().flatten().collect();
    field("needs", &if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") });
    field("model", if facts.takes_model { "set with `--model`" } else { "takes none" });
    for (role, does) in facts.roles {
        field("role", &format!("`{role}`: {does}"));
    }
    field("command", &facts.command.join(" "));
    for (name, value) in facts.env {
        field("env", &format!("{name}={value}"));
    }
    text
}

async fn build(agent: &AgentSpec, context: &Context) -> Result<String, CliError> {
    let docker = DockerExecutor::connect().await.map_err(executor_error)?;
    agents::ensure_image(agent, docker.engine(), context).await
}

fn doctor(args: &DoctorArgs, context: &Context) -> Result<Exit, CliError> {
    let place = &args.place.agents_dir;
    let found = match &args.id {
        Some(id) => vec![(id.clone(), agents::find(id, place))],
        None => agents::all(place),
    };
    let runtime = start_runtime()?;
    let mut text = String::new();
    let mut all: Vec<(String, Vec<Finding>)> = Vec::new();
    for (name, agent) in found {
        let findings = runtime.block_on(agents::examine(&agent?))?;
        let _ = write!(text, "{name}\n{}", findings_text(&findings));
        all.push((name, findings));
    }
    if args.json {
        let map: serde_json::Map<String, serde_json::Value> = all
            .iter()
            .map(|(name, findings)| Ok((name.clone(), serde_json::to_value(findings)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        text = format!("{}\n", serde_json::to_string_pretty(&map)?);
    }
    context.print(text)?;
    let is_missing = all
        .iter()
        .flat_map(|(_, findings)| findings)
        .any(|finding| finding.level == Level::Missing);
    Ok(if is_missing { Exit::Environment } else { Exit::Success })
}
