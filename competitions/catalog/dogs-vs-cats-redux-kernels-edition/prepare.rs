//! Pictures of cats and dogs. 10 % of them become the test part; both parts are numbered anew,
//! loose and in archives.

use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let names = ctx.files("train.zip/train")?;
    let (train, test) = train_test_split(names.len(), 0.1, 0)?.of(&names);
    let (mut cats, mut dogs) = (0.., 0..);
    let train_files: Vec<(&String, String)> = train
        .iter()
        .map(|name| {
            let (animal, numbers) =
                if name.contains("cat") { ("cat", &mut cats) } else { ("dog", &mut dogs) };
            let number = numbers.next().unwrap_or_default();
            (name, format!("{animal}.{number}.jpg"))
        })
        .collect();
    let test_files: Vec<(&String, String)> =
        test.iter().zip(1..).map(|(name, k)| (name, format!("{k}.jpg"))).collect();
    for (part, files) in [("train", &train_files), ("test", &test_files)] {
        let raw = |name: &str| format!("train.zip/train/{name}");
        ctx.copy_all(files.iter().map(|(name, new)| (raw(name), format!("public/{part}/{new}"))))?;
        let mut zip = ctx.zip(&format!("public/{part}.zip"))?;
        zip.add_all(files.iter().map(|(name, new)| (raw(name), new)))?;
        zip.finish()?;
    }
    let labels: Vec<i64> = test.iter().map(|name| i64::from(name.contains("dog"))).collect();
    let ids: Vec<i64> = (1..=test.len() as i64).collect();
    let answers = Frame::new("answers", test.len()).with("id", ids)?.with("label", labels)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("label", 0.5)?)
}
