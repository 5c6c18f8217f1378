//! Couplings between the atoms of molecules. 10 % of the molecules become the test part; the side
//! tables keep the train molecules only.

use std::collections::HashSet;

use crate::frame::train_test_split;
use crate::prepare::{Prepare, PrepareError};

const MOLECULE: &str = "molecule_name";
const STRUCTURES: &str = "structures";
const SIDE_TABLES: [&str; 6] = [
    STRUCTURES,
    "dipole_moments",
    "magnetic_shielding_tensors",
    "mulliken_charges",
    "potential_energy",
    "scalar_coupling_contributions",
];

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let couplings = ctx.read_csv("train.csv")?;
    let mut molecules = couplings.groups(MOLECULE)?;
    molecules.sort();
    let split = train_test_split(molecules.len(), 0.1, 0)?;
    let rows_of = |part: &[u32]| {
        part.iter().flat_map(|&k| molecules[k as usize].1.iter().copied()).collect::<Vec<_>>()
    };
    let (train, test) =
        (couplings.take(&rows_of(&split.train)), couplings.take(&rows_of(&split.test)));
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("private/answers.csv", &test)?;
    ctx.write_csv("public/test.csv", &test.drop(["scalar_coupling_constant"])?)?;
    let sample = test.select(["id"])?.with("scalar_coupling_constant", 0)?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;

    let names: HashSet<String> =
        split.train.iter().map(|&k| molecules[k as usize].0.clone()).collect();
    // The original task gives the positions of all atoms, also those of test molecules.
    let all: HashSet<String> = molecules.iter().map(|(name, _)| name.clone()).collect();
    let placed = if ctx.fixed() { &all } else { &names };
    for table in SIDE_TABLES {
        let file = format!("{table}.csv");
        let wanted = if table == STRUCTURES { placed } else { &names };
        let kept = ctx.read_csv(&file)?.filter_in(MOLECULE, wanted)?;
        let found = kept.distinct(MOLECULE)?.len();
        ctx.check(
            found == wanted.len(),
            &file,
            format!("expected {} molecules, found {found}", wanted.len()),
        )?;
        ctx.write_csv(&format!("public/{file}"), &kept)?;
    }
    let structure =
        |name: &String| (format!("structures/{name}.xyz"), format!("public/structures/{name}.xyz"));
    ctx.copy_all(placed.iter().map(structure))
}
