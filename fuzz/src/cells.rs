//! The parsers inside cells: run lengths, boxes, points, sets, orders. The first byte chooses a
//! competition, the rest is the graded cell.

use std::sync::LazyLock;

use medalist_grading::table::{Limits, Table};
use medalist_grading::{Answers, Grader, GradingSpec};

/// Competitions with something to parse: entry, header of the answers, and their one row. The ids
/// come first.
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
    (include_str!("../../competitions/catalog/uw-madison-gi-tract-image-segmentation/competition.toml"), "id,class,image_width,image_height,predicted", "a_slice_1,stomach,9,7,3 4 9 2"),
    (include_str!("../../competitions/catalog/vesuvius-challenge-ink-detection/competition.toml"), "Id,width,height,Predicted", "a,9,7,3 4 9 2"),
    (include_str!("../../competitions/catalog/tgs-salt-identification-challenge/competition.toml"), "id,rle_mask", "a,3 4 9 2"),
    (include_str!("../../competitions/catalog/siim-covid19-detection/competition.toml"), "id,PredictionString", "a_image,opacity 1 1 1 9 9 opacity 1 5 5 20 20 none 1 0 0 1 1"),
    (include_str!("../../competitions/catalog/vinbigdata-chest-xray-abnormalities-detection/competition.toml"), "image_id,class_id,x_min,y_min,x_max,y_max", "a,3,1,1,9,9"),
    (include_str!("../../competitions/catalog/multi-modal-gesture-recognition/competition.toml"), "Id,Sequence", "7,1 2 3"),
    (include_str!("../../competitions/catalog/plant-pathology-2021-fgvc8/competition.toml"), "image,labels", "a,scab rust"),
    (include_str!("../../competitions/catalog/whale-categorization-playground/competition.toml"), "Image,Id", "a,w_1"),
    (include_str!("../../competitions/catalog/tweet-sentiment-extraction/competition.toml"), "textID,selected_text", "a,some words"),
    (include_str!("../../competitions/catalog/text-normalization-challenge-english-language/competition.toml"), "id,after", "0_1,some words"),
];

static GRADERS: LazyLock<Vec<(Grader, Answers, String)>> = LazyLock::new(|| {
    let one = |(entry, header, row): &(&str, &str, &str)| {
        let mut entry: toml::Table = entry.parse().unwrap();
        let spec: GradingSpec = entry.remove("grading").unwrap().try_into().unwrap();
        let answers = Table::parse(format!("{header}\n{row}\n").into_bytes(), &Limits::default()).unwrap();
        let ids: Vec<&str> = row.split(',').take(spec.id_columns.len()).collect();
        let submission = format!("{},{}\n{},", spec.id_columns.join(","), spec.target_columns[0], ids.join(","));
        (Grader::new(spec).unwrap(), Answers::Table(answers), submission)
    };
    COMPETITIONS.iter().map(one).collect()
});

/// The target.
pub fn run(bytes: &[u8]) {
    let Some((&choice, cell)) = bytes.split_first() else { return };
    let (grader, answers, start) = &GRADERS[choice as usize % GRADERS.len()];
    let Ok(cell) = std::str::from_utf8(cell) else { return };
    let text = format!("{start}\"{}\"\n", cell.replace('"', "\"\""));
    let Ok(table) = Table::parse(text.into_bytes(), &Limits::default()) else { return };
    grader.grade_strictly(&table, answers).expect("the answers are good");
}
