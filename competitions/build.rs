//! Turns `catalog/*/` into static data: the texts of every competition, and a table of the
//! preparations that are code.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=catalog");
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    let folders = competition_folders(&root.join("catalog"))?;
    fs::write(out.join("catalog.rs"), catalog_source(&folders))?;
    fs::write(out.join("recipes.rs"), recipes_source(&folders))?;
    // A packaged crate comes without the golden data.
    let golden = root.join("../tests/golden/prepare");
    println!("cargo::rerun-if-changed={}", golden.display());
    fs::write(out.join("golden.rs"), golden_source(&golden)?)
}

/// A test for each archive of golden data, so that a failure has a name, and the list of them.
fn golden_source(golden: &Path) -> io::Result<String> {
    let (mut tests, mut ids) = (String::new(), Vec::new());
    let entries = if golden.is_dir() { Some(fs::read_dir(golden)?) } else { None };
    for entry in entries.into_iter().flatten() {
        let name = entry?.file_name().into_string().unwrap_or_default();
        ids.extend(name.strip_suffix(".zip").map(str::to_owned));
    }
    ids.sort();
    for id in &ids {
        let name = module_name(id);
        writeln!(tests, "#[test]\nfn {name}() {{\n    super::check({id:?});\n}}")
            .expect("writing to a string succeeds");
    }
    writeln!(tests, "pub(super) const GOLDEN: &[&str] = &{ids:?};")
        .expect("writing to a string succeeds");
    Ok(tests)
}

/// Every folder of the catalogue that describes a competition, in the order of its name.
fn competition_folders(catalog: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(catalog)? {
        let path = entry?.path();
        if path.join("competition.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn folder_name(folder: &Path) -> &str {
    folder
        .file_name()
        .and_then(|name| name.to_str())
        .expect("folders of the catalogue have names in UTF-8")
}

fn catalog_source(folders: &[PathBuf]) -> String {
    let mut source = String::from("static EMBEDDED: &[EmbeddedFolder] = &[\n");
    for folder in folders {
        let optional = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { format!("Some(include_str!({path:?}))") } else { "None".to_owned() }
        };
        let raw = folder.join("raw.zip");
        let raw = if raw.is_file() {
            format!("Some(include_bytes!({raw:?}))")
        } else {
            "None".to_owned()
        };
        writeln!(
            source,
            "    EmbeddedFolder {{ id: {:?}, competition: include_str!({:?}), brief: {}, leaderboard: {}, checksums: {}, raw: {} }},",
            folder_name(folder),
            folder.join("competition.toml"),
            optional("brief.md"),
            optional("leaderboard.csv"),
            optional("checksums.toml"),
            raw,
        )
        .expect("writing to a string succeeds");
    }
    source.push_str("];\n");
    source
}

/// A module for each `prepare.rs` and the function that finds one by id; nothing while no folder
/// has one.
fn recipes_source(folders: &[PathBuf]) -> String {
    let (mut modules, mut table) = (String::new(), String::new());
    for folder in folders {
        let path = folder.join("prepare.rs");
        if !path.is_file() {
            continue;
        }
        let (id, module) = (folder_name(folder), module_name(folder_name(folder)));
        writeln!(modules, "#[path = {path:?}]\nmod {module};")
            .expect("writing to a string succeeds");
        writeln!(table, "    ({id:?}, {module}::prepare),").expect("writing to a string succeeds");
    }
    if modules.is_empty() {
        return String::new();
    }
    format!(
        "{modules}\n\
         /// A preparation in code.\n\
         pub(crate) type Recipe = fn(&mut crate::prepare::Prepare) -> Result<(), crate::prepare::PrepareError>;\n\n\
         /// Sorted by id.\n\
         static RECIPES: &[(&str, Recipe)] = &[\n{table}];\n\n\
         /// The preparation of the competition `id`, if the catalogue has one in code.\n\
         pub(crate) fn recipe(id: &str) -> Option<Recipe> {{\n    \
             RECIPES.binary_search_by(|(known, _)| known.cmp(&id)).ok().map(|index| RECIPES[index].1)\n\
         }}\n"
    )
}

fn module_name(id: &str) -> String {
    let name: String = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}
