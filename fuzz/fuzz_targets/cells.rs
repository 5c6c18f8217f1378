//! The parsers inside cells: run lengths, boxes, points, sets, orders. The first byte chooses a competition, the rest is the graded cell.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, Grader, GradingSpec};

/// Competitions with something to parse: entry, header and rest of the one row of the answers, its truth last.
const COMPETITIONS: &[(&str, &str, &str)] = &[
    (include_str!("../../competitions/catalog/hubmap-kidney-segmentation/competition.toml"), "id,height_pixels,width_pixels,encoding", "a,9,7,3 4 9 2"),
    (include_str!("../../competitions/catalog/google-research-identify-contrails-reduce-global-warming/competition.toml"), "record_id,height,width,encoded_pixels", "1,9,7,3 4 9 2"),
    (include_str!("../../competitions/catalog/3d-object-detection-for-autonomous-vehicles/competition.toml"), "Id,PredictionString", "a,1.0 1 2 3 1 2 1 0.5 car 1.0 5 2 3 1 2 1 0.5 bus"),
    (include_str!("../../competitions/catalog/kuzushiji-recognition/competition.toml"), "image_id,labels", "a,U+306E 1 1 10 10 U+306E 5 5 10 10"),
    (include_str!("../../competitions/catalog/AI4Code/competition.toml"), "id,cell_order", "a,x y z"),
    (include_str!("../../competitions/catalog/imet-2020-fgvc7/competition.toml"), "id,attribute_ids", "a,1 2 3"),
    (include_str!("../../competitions/catalog/hotel-id-2021-fgvc8/competition.toml"), "image,hotel_id", "a,17"),
    (include_str!("../../competitions/catalog/chaii-hindi-and-tamil-question-answering/competition.toml"), "id,PredictionString", "a,some words"),
    (include_str!("../../competitions/catalog/inaturalist-2019-fgvc6/competition.toml"), "id,predicted", "1,17"),
];

static GRADERS: LazyLock<Vec<(Grader, Answers, String)>> = LazyLock::new(|| {
    let one = |(entry, header, row): &(&str, &str, &str)| {
        let mut entry: toml::Table = entry.parse().unwrap();
        let spec: GradingSpec = entry.remove("grading").unwrap().try_into().unwrap();
        let answers = Table::parse(format!("{header}\n{row}\n").into_bytes(), &Limits::default()).unwrap();
        let submission = format!("{},{}\n{},", spec.id_columns[0], spec.target_columns[0], row.split(',').next().unwrap());
        (Grader::new(spec).unwrap(), Answers::Table(answers), submission)
    };
    COMPETITIONS.iter().map(one).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, cell)) = bytes.split_first() else { return };
    let (grader, answers, start) = &GRADERS[choice as usize % GRADERS.len()];
    let Ok(cell) = std::str::from_utf8(cell) else { return };
    let text = format!("{start}\"{}\"\n", cell.replace('"', "\"\""));
    let Ok(table) = Table::parse(text.into_bytes(), &Limits::default()) else { return };
    grader.grade_strictly(&table, answers).expect("the answers are good");
});
