//! Pictures that may hide a message. A fixed number of pictures becomes the test part; for each a
//! coin decides whether it shows the cover or one of three ways of hiding.

use crate::frame::{Frame, train_test_split};
use crate::prepare::{Prepare, PrepareError};
use crate::rng::PythonRandom;

const METHODS: [&str; 3] = ["JMiPOD", "JUNIWARD", "UERD"];

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let pictures: Vec<String> =
        ctx.files("Cover")?.into_iter().filter(|name| name.ends_with(".jpg")).collect();
    let split = train_test_split(pictures.len(), ctx.option::<usize>("test_size", 5000)?, 42)?;
    let (train, mut test) = split.of(&pictures);
    for folder in ["Cover"].iter().chain(&METHODS) {
        let renamed = train.iter().zip(1..);
        ctx.copy_all(
            renamed.map(|(name, k)| {
                (format!("{folder}/{name}"), format!("public/{folder}/{k:05}.jpg"))
            }),
        )?;
    }

    let mut random = PythonRandom::new(0);
    random.shuffle(&mut test);
    let (mut ids, mut labels, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (name, k) in test.iter().zip(1..) {
        let is_cover = *random.choice(&[true, false]);
        let folder = if is_cover { "Cover" } else { *random.choice(&METHODS) };
        let id = format!("{k:04}.jpg");
        files.push((format!("{folder}/{name}"), format!("public/Test/{id}")));
        ids.push(id);
        labels.push(i64::from(!is_cover));
    }
    ctx.copy_all(files)?;
    let answers = Frame::new("answers", ids.len()).with("Id", ids)?.with("Label", labels)?;
    ctx.write_csv("private/test.csv", &answers)?;
    ctx.write_csv("public/sample_submission.csv", &answers.with("Label", 0)?)
}
