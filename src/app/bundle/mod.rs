//! Run groups as one file that strangers can check.
//!
//! ```text
//!  pick       which files, by name
//!  scan       their hashes; secrets and answers refuse the bundle
//!  manifest   what is in it and what it claims
//!  frames     zstd on all processors
//! ```
//! The file is a tar archive in zstd: the manifest, the signature over it, and the files in the order of
//! their paths. The same groups make the same bytes.

pub mod frames;
pub mod manifest;
pub mod pick;
pub mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use medalist_grading::GradeReport;
use medalist_reports::record::AttemptRecord;
use rayon::prelude::*;

use self::frames::Frames;
use self::manifest::{
    BUNDLE_FORMAT, GroupClaim, KIND, Listed, MANIFEST, MadeBy, Manifest, Part, Results, SIGNATURE,
};
use self::pick::{Picked, files_of};
use self::scan::{Scanned, Wanted};
use super::context::Context;
use super::error::{CliError, Exit};
use super::groups::{find_error, read_plan};
use crate::attempt::plan::Plan;
use crate::host::chain::Chain;
use crate::host::files::{Hashed, StoreError, read_json_if_there};
use crate::host::machine;
use crate::host::sign::Signer;
use crate::host::store::{GroupDir, find};
use crate::run::events::EventKind;
use crate::run::sinks::jsonl;

/// What is bundled.
#[derive(Debug)]
pub struct BundleRequest<'a> {
    /// Folders of run groups, or their names below the runs folder.
    pub groups: &'a [PathBuf],
    /// The file to write.
    pub out: &'a Path,
    /// What is left out.
    pub without: BTreeSet<Part>,
    /// The key to sign with.
    pub key: Option<&'a Path>,
}

/// What was bundled.
#[derive(Debug)]
pub struct Bundled {
    pub manifest: Manifest,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// A group that goes into the bundle.
struct Source {
    files: Vec<(Picked, Scanned)>,
    claim: GroupClaim,
}

/// Writes run groups into one file.
///
/// # Errors
/// A group is missing, damaged or being run; a file holds a secret or the answers; the key cannot be
/// used; the file cannot be written.
pub fn bundle(request: &BundleRequest<'_>, context: &Context) -> Result<Bundled, CliError> {
    let signer = request.key.map(Signer::read).transpose();
    let signer = signer.map_err(|error| {
        CliError::new(Exit::BadInput, error)
            .hint("`medalist key new` makes a key; `ssh-keygen -p` takes a passphrase off one")
    })?;
    let mut sources: Vec<Source> = Vec::new();
    for text in request.groups {
        let source = read_source(text, request, context)?;
        if sources.iter().any(|known| known.claim.id == source.claim.id) {
            let message = format!("two of the groups are called `{}`", source.claim.id);
            return Err(CliError::message(Exit::BadInput, message));
        }
        sources.push(source);
    }
    sources.sort_by(|a, b| a.claim.id.cmp(&b.claim.id));
    let manifest = manifest_of(&sources, request);
    let text = serde_json::to_vec_pretty(&manifest)?;
    let signature = signer.map(|signer| signer.sign(&text)).transpose()?;
    let taken = sources.iter().flat_map(|source| &source.files);
    let mut taken: Vec<&(Picked, Scanned)> =
        taken.filter(|(file, _)| !is_left_out(file, &request.without)).collect();
    taken.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    let (bytes, sha256) = write(request.out, &text, signature.as_deref(), &taken)?;
    Ok(Bundled { manifest, bytes, sha256 })
}

fn is_left_out(file: &Picked, without: &BTreeSet<Part>) -> bool {
    file.part.is_some_and(|part| without.contains(&part))
}

fn manifest_of(sources: &[Source], request: &BundleRequest<'_>) -> Manifest {
    let listed = |left_out: bool| {
        let files = sources.iter().flat_map(|source| &source.files);
        let files = files.filter(|(file, _)| is_left_out(file, &request.without) == left_out);
        let mut listed: Vec<Listed> = files
            .map(|(file, scanned)| Listed {
                path: file.path.clone(),
                bytes: scanned.bytes,
                sha256: scanned.sha256.clone(),
            })
            .collect();
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        listed
    };
    Manifest {
        kind: KIND.to_owned(),
        format: BUNDLE_FORMAT,
        made_by: MadeBy {
            version: crate::attempt::VERSION.to_owned(),
            sha256: machine::program_sha256().map(str::to_owned),
        },
        without: request.without.clone(),
        groups: sources.iter().map(|source| source.claim.clone()).collect(),
        files: listed(false),
        left_out: listed(true),
    }
}

/// Reads one group: its files, their hashes, and what it claims.
fn read_source(
    text: &Path,
    request: &BundleRequest<'_>,
    context: &Context,
) -> Result<Source, CliError> {
    let dir = find::group(&context.runs_dir, text).map_err(find_error)?;
    if dir.is_running() {
        let message = format!("`{}` is being run", dir.root().display());
        return Err(CliError::message(Exit::BadInput, message)
            .hint("wait for its end, or stop it with `medalist stop`"));
    }
    let plan = read_plan(&dir)?;
    let pick = files_of(&dir, &plan)?;
    for entry in &pick.refused {
        context.warn(format_args!("{entry}; it is left out"));
    }
    let wanted = Wanted::of(&dir, &plan, request.key, context);
    let scan = |file: Picked| wanted.scan(&file).map(|scanned| (file, scanned));
    let files: Result<Vec<_>, StoreError> = pick.files.into_par_iter().map(scan).collect();
    let files = files?;
    refuse_leaks(&files, &request.without)?;
    let searched: BTreeSet<String> = wanted.competitions().cloned().collect();
    let planned = plan.attempts.iter().map(|attempt| &attempt.key.competition);
    let unsearched: BTreeSet<&String> = planned.filter(|id| !searched.contains(*id)).collect();
    if !unsearched.is_empty() {
        let ids: Vec<&str> = unsearched.into_iter().map(String::as_str).collect();
        context.warn(format_args!(
            "the answers of {} are not in `{}`, and were not searched for",
            ids.join(", "),
            context.data_dir.display()
        ));
    }
    let logs = files.iter().map(|(file, _)| file.from.as_path());
    let logs: Vec<&Path> = logs.filter(|path| path.ends_with("events.jsonl")).collect();
    let claim = claim_of(&dir, &plan, &logs, searched)?;
    Ok(Source { files, claim })
}

/// Refuses files that hold a secret, or answers beyond what the agent's own submissions are.
fn refuse_leaks(files: &[(Picked, Scanned)], without: &BTreeSet<Part>) -> Result<(), CliError> {
    // Who predicts well has written much of the answers, also beside the submission.
    let mut own: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (file, scanned) in files.iter().filter(|(file, _)| file.part == Some(Part::Submissions)) {
        let (blocks, hashes) = own.entry(file.attempt.as_deref().unwrap_or_default()).or_default();
        *blocks = (*blocks).max(scanned.answer_blocks);
        hashes.insert(&scanned.sha256);
    }
    for (file, scanned) in files.iter().filter(|(file, _)| !is_left_out(file, without)) {
        let path = file.from.display();
        let out = match file.part {
            Some(part) => format!("`--without {}` leaves such files out", part.word()),
            None => "it is a record, which no bundle can do without".to_owned(),
        };
        let refused = |what: &str| {
            CliError::message(Exit::BadInput, format!("`{path}` holds {what}")).hint(out.as_str())
        };
        if let Some(secret) = &scanned.secret {
            return Err(refused(secret));
        }
        let competition = file.competition.as_deref().unwrap_or_default();
        let what = format!("the answers of `{competition}`");
        let (blocks, hashes) =
            own.get(file.attempt.as_deref().unwrap_or_default()).cloned().unwrap_or_default();
        let is_own =
            file.part == Some(Part::Submissions) || hashes.contains(scanned.sha256.as_str());
        if scanned.is_answers
            || scanned.holds_answers() && !is_own && scanned.answer_blocks > blocks
        {
            return Err(refused(&what));
        }
    }
    Ok(())
}

/// What a group says of itself.
fn claim_of(
    dir: &GroupDir,
    plan: &Plan,
    logs: &[&Path],
    answers_searched: BTreeSet<String>,
) -> Result<GroupClaim, CliError> {
    let mut claim = GroupClaim {
        id: plan.group.clone(),
        agent: plan.agent.id.clone(),
        plan_sha256: hex::encode(Chain::of_plan(&dir.plan())?.link()),
        agent_sha256: Some(plan.agent.files_sha256.clone()),
        answers_searched,
        ..GroupClaim::default()
    };
    let mut results = Results::default();
    for attempt in &plan.attempts {
        let folder = dir.attempt(&attempt.dir);
        let record: Option<AttemptRecord> = read_json_if_there(&folder.record())?;
        let grade: Option<GradeReport> = read_json_if_there(&folder.grade())?;
        results.count(record.as_ref(), grade.as_ref());
        let Some(conditions) = record.map(|record| record.conditions) else { continue };
        claim.images.extend(conditions.image_digest);
        if let Some(data) = conditions.data_sha256 {
            claim.data.entry(attempt.key.competition.clone()).or_default().insert(data);
        }
    }
    claim.results = results;
    if dir.events().exists() {
        let head = Chain::of_plan(&dir.plan())?;
        let end =
            head.clone().resume(&dir.events()).map_err(StoreError::io("read", &dir.events()))?;
        claim.chain = (end != head).then(|| hex::encode(end.link()));
    }
    for log in logs {
        claim.programs.extend(programs(log)?);
    }
    Ok(claim)
}

/// SHA-256 of the programs that a log names.
fn programs(events: &Path) -> Result<BTreeSet<String>, CliError> {
    let mut programs = BTreeSet::new();
    let each = |event: crate::run::events::RunEvent| {
        if let EventKind::GroupStarted { program_sha256, .. } = event.kind {
            programs.extend(program_sha256);
        }
    };
    jsonl::each(events, each).map_err(StoreError::io("read", events))?;
    Ok(programs)
}

/// Writes the archive aside and renames it; its size and SHA-256.
fn write(
    out: &Path,
    manifest: &[u8],
    signature: Option<&str>,
    files: &[&(Picked, Scanned)],
) -> Result<(u64, String), CliError> {
    let failed = |error: io::Error| {
        CliError::from(
            anyhow::Error::new(error).context(format!("cannot write `{}`", out.display())),
        )
    };
    let folder = out.parent().filter(|dir| !dir.as_os_str().is_empty());
    let aside = tempfile::Builder::new()
        .prefix(".bundle-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    let hashed = Hashed::new(BufWriter::new(aside));
    let mut tar = tar::Builder::new(Frames::new(hashed));
    append(&mut tar, MANIFEST, manifest.len() as u64, manifest).map_err(failed)?;
    if let Some(signature) = signature {
        append(&mut tar, SIGNATURE, signature.len() as u64, signature.as_bytes())
            .map_err(failed)?;
    }
    for (file, scanned) in files {
        let from = File::open(&file.from).map_err(StoreError::io("read", &file.from))?;
        let mut same = Hashed::new(from);
        append(&mut tar, &file.path, scanned.bytes, (&mut same).take(scanned.bytes))
            .map_err(failed)?;
        if same.finish().0 != scanned.sha256 {
            let message = format!("`{}` was changed meanwhile", file.from.display());
            return Err(CliError::message(Exit::BadInput, message)
                .hint("give the same command again once nobody writes there"));
        }
    }
    let hashed = tar.into_inner().and_then(Frames::finish).map_err(failed)?;
    let (sha256, bytes, aside) = hashed.finish();
    let aside = aside.into_inner().map_err(|error| failed(error.into_error()))?;
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(out).map_err(|error| failed(error.error))?;
    Ok((bytes, sha256))
}

/// Appends a file that tells nothing of who made it, and when.
fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    bytes: u64,
    from: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, path, from)
}
