use std::path::Path;

use medalist_grading::chain;

use crate::CompetitionSpec;
use crate::spec::FolderFiles;

/// A competition without a fault, by line.
const SOUND: &str = r#"id = "mine"
title = "Mine"
modality = "tabular"
[data]
answers = "private/answers.csv"
sample_submission = "public/sample.csv"
[grading]
metric = "accuracy"
direction = "higher"
id_columns = ["id"]
target_columns = ["label"]
[split]
table = "train.csv"
test_size = 0.1
test.hide = ["label"]
sample.fill = { label = 0 }
answers.columns = ["id", "label"]
[[split.tables]]
table = "more.csv"
key = "id"
to = "public/{part}_more.csv"
[[split.copy]]
from = "notes.txt"
[[split.copy]]
from = "train/{id}.png"
to = "public/{part}/{id}.png"
"#;

/// What is said of `SOUND` with one text in the place of another.
fn refusal(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "{from}");
    let text = SOUND.replacen(from, to, 1);
    let path = Path::new("competition.toml");
    match CompetitionSpec::parse(&text, FolderFiles::default(), path) {
        Ok(_) => String::new(),
        Err(error) => chain(&error),
    }
}

#[test]
fn a_split_that_cannot_be_made_is_refused_with_its_line() {
    const SIZE: &str = "test_size = 0.1";
    const TABLE: &str = "table = \"train.csv\"\n";
    for (from, to, line, part) in [
        ("mine", "mine", 0, ""),
        ("test_size", "testsize", 14, "unknown key `testsize`; did you mean `test_size`?"),
        ("test.hide", "test.hid", 15, "unknown key `hid`; did you mean `hide`?"),
        (SIZE, "method = \"randum\"", 14, "unknown word `randum`; did you mean `random`?"),
        (SIZE, "", 12, "`split.test_size` is missing, which `method = \"random\"` needs"),
        (SIZE, "test_size = 1.5", 14, "is 1.5, expected a share between 0 and 1"),
        (SIZE, "test_size = nan", 14, "expected a share between 0 and 1"),
        (SIZE, "test_size = 0", 14, "expected one row at least"),
        (SIZE, "test_size = -3", 14, "expected a number of rows, found -3"),
        (
            SIZE,
            "test_size = \"7 days\"",
            14,
            "is `7 days`, expected a share or a number with `method = \"random\"`",
        ),
        (SIZE, "test_size = { like = \"a/{x}{y}\" }", 14, "expected text between two placeholders"),
        (
            SIZE,
            "test_size = 0.1\nby = \"label\"",
            15,
            "`split.by` says nothing with `method = \"random\"`",
        ),
        (
            SIZE,
            "test_size = 0.1\nmethod = \"grouped\"",
            15,
            "is `grouped` and needs `by`, the column of the groups",
        ),
        (
            SIZE,
            "test_size = 0.1\nmethod = \"stratified\"",
            15,
            "needs `by`, the column of the classes",
        ),
        (SIZE, "method = \"time\"\nby = \"day\"", 14, "needs `test_size` or `cut`"),
        (
            SIZE,
            "method = \"time\"\nby = \"day\"\ncut = \"1.1.2020\"",
            16,
            "is `1.1.2020`, expected a number or a date such as `2020-09-22`",
        ),
        (
            SIZE,
            "test_size = 0.1\ncut = \"2020-01-01\"",
            15,
            "says nothing with `method = \"random\"`",
        ),
        (
            SIZE,
            "method = \"time\"\nby = \"day\"\ncut = \"2020-01-01\"\ntest_size = 3",
            16,
            "say the same",
        ),
        (SIZE, "method = \"given\"", 14, "needs `test.from`"),
        (
            SIZE,
            "method = \"given\"\ntest.from = \"test.csv\"\ntest_size = 3",
            16,
            "says nothing with `method = \"given\"`",
        ),
        (
            SIZE,
            "method = \"given\"\ntest.from = \"test.csv\"\nas_is = true",
            16,
            "is set, but `train` or `answers` are to be changed",
        ),
        (
            SIZE,
            "test_size = 0.1\ntest.from = \"test.csv\"",
            15,
            "says nothing without `method = \"given\"`",
        ),
        (SIZE, "test_size = 0.1\nas_is = true", 15, "says nothing without `method = \"given\"`"),
        (SIZE, "test_size = 0.1\nseparator = \"é\"", 15, "expected a character such as `;`"),
        (SIZE, "test_size = 0.1\nseparator = \"; \"", 15, "expected a character"),
        (TABLE, "table = \"{part}/{id}.png\"\n", 13, "`{part}` is for written paths"),
        (TABLE, "table = \"train/{id\"\n", 13, "has a `{` that is no part of `{COLUMN}`"),
        (TABLE, "table = \"train/{id[0]}.png\"\n", 13, "expected `{id}` alone"),
        (
            "test.hide = [\"label\"]",
            "test.hide = [\"label\", \"label\"]",
            15,
            "names `label` twice",
        ),
        (
            "test.hide = [\"label\"]",
            "test.columns = [\"id\", \"label\"]",
            15,
            "shows `label`, which tells the answers",
        ),
        (
            "test.hide = [\"label\"]",
            "test.columns = [\"id\"]\ntest.hide = [\"label\"]",
            16,
            "expected one of them",
        ),
        (
            "test.hide = [\"label\"]",
            "test.file = \"public/train.csv\"",
            15,
            "is `public/train.csv`, which `split.train.file` writes too",
        ),
        (
            "test.hide = [\"label\"]",
            "test.file = \"test.csv\"",
            15,
            "expected a path that starts with `public/` or `private/`",
        ),
        (
            "test.hide = [\"label\"]",
            "test.file = \"public/../test.csv\"",
            15,
            "expected a path that starts with",
        ),
        ("fill = { label = 0 }", "fill = { labl = 0 }", 16, "has no value for `label`"),
        (
            "fill = { label = 0 }",
            "fill = { label = 0, lable = 1 }",
            16,
            "fills `lable`, which the sample submission does not have; did you mean `label`?",
        ),
        (
            "fill = { label = 0 }",
            "fill = { \"*\" = \"{label}\" }",
            16,
            "names `label`, which tells the answers",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = { guess = \"meen\" } }",
            16,
            "unknown word `meen`; did you mean `mean`?",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = { guess = \"mean\", low = 1 } }",
            16,
            "has `low`, which belongs to `guess = \"random\"`",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = { guess = \"prior\" } }",
            16,
            "needs `answers.one_hot`",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = { guess = \"random\" } }",
            16,
            "needs `low` and `high`",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = { guess = \"random\", low = 2, high = 1 } }",
            16,
            "expected the smaller first",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = { guess = \"random\", low = 0, high = 1, decimals = 2 } }",
            16,
            "integers are drawn",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = { guess = \"random\", low = 0, high = 9000000000 } }",
            16,
            "more than 2^32",
        ),
        ("fill = { label = 0 }", "fill = { label = [] }", 16, "expected a value, or a rule"),
        (
            "fill = { label = 0 }",
            "fill = { label = 0 }\nsample.also = [\"private/answers.csv\"]",
            17,
            "which `split.answers` writes too",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = 0 }\nsample.columns = [\"id\", \"secret\", \"label\"]\nanswers.rename = { secret = \"label\" }",
            17,
            "shows `secret`, which tells the answers",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = 0 }\ngold = {}",
            17,
            "`data.gold_submission` names no file",
        ),
        (
            "\"public/sample.csv\"",
            "\"public/sample.csv\"\ngold_submission = \"private/gold.csv\"",
            7,
            "`split.gold` is missing",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = 0 }\nrenumber = { column = \"id\" }",
            17,
            "names neither `train` nor `test`",
        ),
        (
            "fill = { label = 0 }",
            "fill = { label = 0 }\nrenumber = { column = \"id\", test = \"{id}\" }",
            17,
            "expected `{n}` and no other placeholder",
        ),
        (
            "answers.columns = [\"id\", \"label\"]",
            "answers.join = \" \"",
            17,
            "says nothing without `one_row_per`",
        ),
        (
            "answers.columns = [\"id\", \"label\"]",
            "answers.one_hot = \"label\"",
            17,
            "expected a column such as `{label}`",
        ),
        (
            "answers.columns = [\"id\", \"label\"]",
            "answers.unpivot = { columns = [\"a\"], id = \"{id}\" }",
            17,
            "expected `{column}` in it",
        ),
        ("answers.columns = [\"id\", \"label\"]", "answers.columns = []", 17, "names no column"),
        ("public/{part}_more.csv", "public/more.csv", 21, "is the same for both parts"),
        (
            "public/{part}_more.csv",
            "public/{part}_{id}.csv",
            21,
            "expected no placeholder but `{part}`",
        ),
        (
            "public/{part}_more.csv",
            "public/{part}.csv",
            21,
            "is `public/train.csv`, which `split.train.file` writes too",
        ),
        (
            "\"notes.txt\"",
            "\"train.csv\"",
            23,
            "is `public/train.csv`, which `split.train.file` writes too",
        ),
        ("\"notes.txt\"", "[]", 23, "names no path"),
        ("\"notes.txt\"", "\"notes.txt\"\nto = \"public/{id}.txt\"", 24, "is no file for each row"),
        ("\"notes.txt\"", "\"notes/\"\nto = \"public/notes\"", 24, "expected a folder"),
        ("\"notes.txt\"", "[\"a\", \"b\"]\nto = \"public/notes\"", 24, "expected a folder"),
        (
            "\"notes.txt\"",
            "\"notes.txt\"\nto = \"notes.txt\"",
            24,
            "expected a path that starts with",
        ),
        (
            "public/{part}/{id}.png",
            "public/{part}/{label}/{id}.png",
            24,
            "gives `label` away in the paths of test files",
        ),
        (
            "public/{part}/{id}.png",
            "public/{id}.zip/{id}.png",
            26,
            "expected no column in the name of an archive",
        ),
        ("public/{part}/{id}.png", "public/../{id}.png", 26, "expected a path that starts with"),
        (
            "[split]",
            "[prepare]\ncommand = [\"true\"]\n[split]",
            12,
            "both `[split]` and `[prepare]` say how to prepare it",
        ),
    ] {
        let message = refusal(from, to);
        let place =
            if line == 0 { String::new() } else { format!("`competition.toml`, line {line}: ") };
        assert!(
            message.starts_with(&place)
                && message.contains(part)
                && (line > 0 || message.is_empty()),
            "{from} -> {to}: expected {place}...{part}, found {message}"
        );
    }
}

#[test]
fn a_test_part_may_hide_what_the_train_part_shows() {
    let both = "from = \"train/{id}.png\"\nto = \"public/{part}/{id}.png\"\n";
    let apart = "part = \"train\"\nfrom = \"train/{label}/{id}.png\"\n[[split.copy]]\npart = \"test\"\nfrom = \"train/{label}/{id}.png\"\nto = \"public/test/{id}.png\"\n";
    assert_eq!(refusal(both, apart), "");
}
