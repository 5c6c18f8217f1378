//! Leaves of 99 species as pictures and as three kinds of features. 10 % of the rows become the
//! test part; the answers have one column a species.

use crate::frame::Value;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let (train, test) = ctx.read_csv("train.csv.zip/train.csv")?.train_test_split(0.1, 0)?;
    ctx.write_csv("public/train.csv", &train)?;
    ctx.write_csv("public/test.csv", &test.drop(["species"])?)?;
    let labels = test.texts("species")?;
    let mut columns: Vec<&str> = SPECIES.to_vec();
    let mut unknown: Vec<&str> =
        labels.iter().map(String::as_str).filter(|label| !SPECIES.contains(label)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    columns.append(&mut unknown);
    let ids = test.select(["id"])?;
    let mut answers = ids.clone();
    for &species in &columns {
        answers = answers.with(
            species,
            labels.iter().map(|label| i64::from(label == species)).collect::<Vec<_>>(),
        )?;
    }
    ctx.write_csv("private/test.csv", &answers)?;
    let sample = ids.with_all(&columns, Value::Float(1.0 / SPECIES.len() as f64))?;
    ctx.write_csv("public/sample_submission.csv", &sample)?;
    ctx.make_folder("private/images")?;
    let image =
        |id: &String| (format!("images.zip/images/{id}.jpg"), format!("public/images/{id}.jpg"));
    ctx.copy_all(train.texts("id")?.iter().map(image))?;
    ctx.copy_all(test.texts("id")?.iter().map(image))
}

/// The species in the order of the answers' columns.
#[rustfmt::skip]
const SPECIES: [&str; 99] = [
    "Acer_Capillipes", "Acer_Circinatum", "Acer_Mono", "Acer_Opalus", "Acer_Palmatum", "Acer_Pictum",
    "Acer_Platanoids", "Acer_Rubrum", "Acer_Rufinerve", "Acer_Saccharinum", "Alnus_Cordata",
    "Alnus_Maximowiczii", "Alnus_Rubra", "Alnus_Sieboldiana", "Alnus_Viridis", "Arundinaria_Simonii",
    "Betula_Austrosinensis", "Betula_Pendula", "Callicarpa_Bodinieri", "Castanea_Sativa", "Celtis_Koraiensis",
    "Cercis_Siliquastrum", "Cornus_Chinensis", "Cornus_Controversa", "Cornus_Macrophylla",
    "Cotinus_Coggygria", "Crataegus_Monogyna", "Cytisus_Battandieri", "Eucalyptus_Glaucescens",
    "Eucalyptus_Neglecta", "Eucalyptus_Urnigera", "Fagus_Sylvatica", "Ginkgo_Biloba", "Ilex_Aquifolium",
    "Ilex_Cornuta", "Liquidambar_Styraciflua", "Liriodendron_Tulipifera", "Lithocarpus_Cleistocarpus",
    "Lithocarpus_Edulis", "Magnolia_Heptapeta", "Magnolia_Salicifolia", "Morus_Nigra", "Olea_Europaea",
    "Phildelphus", "Populus_Adenopoda", "Populus_Grandidentata", "Populus_Nigra", "Prunus_Avium",
    "Prunus_X_Shmittii", "Pterocarya_Stenoptera", "Quercus_Afares", "Quercus_Agrifolia", "Quercus_Alnifolia",
    "Quercus_Brantii", "Quercus_Canariensis", "Quercus_Castaneifolia", "Quercus_Cerris",
    "Quercus_Chrysolepis", "Quercus_Coccifera", "Quercus_Coccinea", "Quercus_Crassifolia",
    "Quercus_Crassipes", "Quercus_Dolicholepis", "Quercus_Ellipsoidalis", "Quercus_Greggii",
    "Quercus_Hartwissiana", "Quercus_Ilex", "Quercus_Imbricaria", "Quercus_Infectoria_sub",
    "Quercus_Kewensis", "Quercus_Nigra", "Quercus_Palustris", "Quercus_Phellos", "Quercus_Phillyraeoides",
    "Quercus_Pontica", "Quercus_Pubescens", "Quercus_Pyrenaica", "Quercus_Rhysophylla", "Quercus_Rubra",
    "Quercus_Semecarpifolia", "Quercus_Shumardii", "Quercus_Suber", "Quercus_Texana", "Quercus_Trojana",
    "Quercus_Variabilis", "Quercus_Vulcanica", "Quercus_x_Hispanica", "Quercus_x_Turneri",
    "Rhododendron_x_Russellianum", "Salix_Fragilis", "Salix_Intergra", "Sorbus_Aria", "Tilia_Oliveri",
    "Tilia_Platyphyllos", "Tilia_Tomentosa", "Ulmus_Bergmanniana", "Viburnum_Tinus",
    "Viburnum_x_Rhytidophylloides", "Zelkova_Serrata",
];
