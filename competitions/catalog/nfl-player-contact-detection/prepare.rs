//! Contacts between football players. 10 % of the plays become the test part; every table and video
//! follows its play.

use std::collections::HashSet;

use crate::frame::CsvOptions;
use crate::prepare::{Prepare, PrepareError};

pub(super) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let read = |name: &str| ctx.read_csv_with(name, &CsvOptions::default().fast_floats());
    let (train, test) = read("train_labels.csv")?.split_by_value("game_play", 0.1, 0)?;
    ctx.write_csv("public/train_labels.csv", &train)?;
    ctx.write_csv("private/test.csv", &test)?;
    ctx.write_csv(
        "public/sample_submission.csv",
        &test.select(["contact_id"])?.with("contact", 0)?,
    )?;
    for (part, labels) in [("train", &train), ("test", &test)] {
        let plays: HashSet<String> = labels.distinct("game_play")?.into_iter().collect();
        for table in ["baseline_helmets", "player_tracking", "video_metadata"] {
            let rows = read(&format!("train_{table}.csv"))?.filter_in("game_play", &plays)?;
            ctx.write_csv(&format!("public/{part}_{table}.csv"), &rows)?;
        }
        let videos = labels.distinct("game_play")?.into_iter().flat_map(|play| {
            let name = move |view: &str| format!("{play}_{view}.mp4");
            ["All29", "Endzone", "Sideline"].map(name)
        });
        ctx.copy_all(
            videos.map(|video| (format!("train/{video}"), format!("public/{part}/{video}"))),
        )?;
    }
    Ok(())
}
