use proptest::prelude::*;

use super::*;
use crate::catalogue::Catalogue;

fn identity(id: &str, title: &str, names: &[&str]) -> Identity {
    Identity {
        ids: vec![id.to_owned()],
        title: title.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// A made-up description with everything that gives a competition away.
const MADE_UP: &str = "\
# Acme Otter Tracking 2021

Every winter, otters cross the river. The Otterville Institute of Technology (OIT) invites you to find them.
This contest is hosted by Acme Rivers in partnership with the University of Northmere. Dr. Jane Roe of OIT counted
the otter pups; see [our page](https://www.kaggle.com/c/acme-otter-tracking-2021/overview) or rivers.example.org/otters.
Models trained on ImageNet are allowed; ask @otterlab. Data were taken in 2020 and from 2015 to 2018.
Since 2014, the 2016 challenge and CVPR 2017 have asked for it, with MNIST 2013 and between 2008 and 2009.

## Evaluation

The metric is the mean average precision at IoU 0.5, over 1024x768 images. In 2000 images nothing is seen.
Submit `otter_id` and `score` for each of 12,345 rows:

```
otter_id,score
otter_1,0.75
https://www.kaggle.com/c/acme-otter-tracking-2021
```

otter_id,otter\\
otter_1,0.5\\

## Timeline

- March 3, 2021 - start
- 2021-06-01 11:59 PM UTC - end

### Details

All deadlines are at night.

## Prizes

First place: $25,000

## Data

`otter_boxes.csv` has boxes; otter_id is in train.csv. The winner gets US$ 5,000, the next \\$4,000.
A box costs $3. It closes on 1 June 2021.
";

#[test]
fn what_gives_a_competition_away_is_gone() {
    let identity = identity(
        "acme-otter-tracking-2021",
        "Acme Otter Tracking 2021",
        &["otter_id", "score", "otter_boxes.csv", "train.csv"],
    );
    let done = obfuscate(MADE_UP, &identity);
    let text = &done.text;
    for gone in [
        "Acme",
        "acme",
        "otters",
        "Otterville",
        "OIT",
        "Northmere",
        "Jane",
        "kaggle",
        "Kaggle",
        "http",
        "example.org",
        "ImageNet",
        "@otterlab",
        "2021",
        "2020",
        "2018",
        "March",
        "June",
        "25,000",
        "5,000",
        "4,000",
        "2014",
        "2013",
        "2008",
        "2009",
        "2016",
        "2017",
        "\\ a",
        "deadlines",
        "Timeline",
        "Prizes",
        "Tracking",
    ] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    for stays in [
        "mean average precision at IoU 0.5, over 1024x768 images",
        "In 2000 images",
        "12,345 rows",
        "otter_id,score\notter_1,0.75",
        "`otter_boxes.csv` has boxes; otter_id is in train.csv",
        "A box costs $3",
        "otter_id,otter\\\notter_1,0.5\\\n",
        "## Evaluation",
        "# this-competition",
    ] {
        assert!(text.contains(stays), "{stays}: {text}");
    }
    let kinds: Vec<&str> = done.replaced.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["data_sets", "dates", "links", "names", "prizes", "title", "title_word"]);
    assert_eq!(obfuscate(MADE_UP, &identity), done, "the same brief gives the same text");
}

#[test]
fn the_same_word_always_stands_for_the_same_name() {
    let text = "Zebras run. Two zebra zebras. A zebra's stripes, a known thing. Hosted by Blue Lake. We thank Blue Lake. In 2019 and in 2019.";
    let done = obfuscate(text, &identity("zebra-stripes", "Zebra Stripes", &[]));
    for (word, times) in [("item-A", 2), ("items-A", 2), ("organisation-A", 2), ("date-A", 2)] {
        let found =
            done.text.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|w| *w == word);
        assert_eq!(found.count(), times, "{word}: {}", done.text);
    }
    assert!(done.text.contains("An item-A items-B, a known thing"), "{}", done.text);
    assert!(done.text.contains("Two item-A items-A."), "{}", done.text);
}

/// The words of a text that are letters and digits.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase)
}

/// The text without code and without the names of files and columns.
fn prose(text: &str, identity: &Identity) -> String {
    let outside: String = text.split("```").step_by(2).collect();
    let outside: String = outside.split('`').step_by(2).collect();
    let mut outside = outside;
    for name in identity.names.iter().filter(|name| has_shape(name)) {
        outside = outside.replace(name.as_str(), " ");
    }
    outside
}

fn assert_hidden(done: &Obfuscated, identity: &Identity) {
    let prose = prose(&done.text, identity);
    let words = identity.words();
    for word in words_of(&prose) {
        assert!(!words.contains(&singular(&word)), "`{word}` is left in: {}", done.text);
    }
    for id in identity.ids.iter().filter(|id| id.contains('-')) {
        assert!(!done.text.to_lowercase().contains(id.as_str()), "{id}: {}", done.text);
    }
    let code_free = done.text.to_lowercase();
    assert!(!code_free.contains("http://") && !code_free.contains("https://"), "{}", done.text);
}

#[test]
fn no_brief_of_the_catalogue_names_its_competition() {
    let catalogue = Catalogue::embedded().expect("the catalogue is well-formed");
    let mut seen = 0;
    for spec in catalogue.iter() {
        let Some(brief) = spec.brief() else { continue };
        let identity = Identity::of(spec, Path::new("/nonexistent"));
        let done = obfuscate(brief, &identity);
        assert_hidden(&done, &identity);
        // What the metric is called and how a submission looks is not touched.
        let code = |text: &str| text.split("```").nth(1).map(str::to_owned);
        let cleaned = code(brief).map(|code| code.replace(spec.id.as_str(), "this-competition"));
        assert_eq!(code(&done.text), cleaned, "{}", spec.id);
        seen += 1;
    }
    assert!(seen > 75, "{seen}");
}

proptest! {
    #[test]
    fn no_words_of_a_title_and_no_links_stay(
        title in proptest::collection::vec("Q[a-z]{3,8}", 1..4),
        filler in proptest::collection::vec("w[a-z]{2,8}|[0-9]{1,3}\\.[0-9]{2}", 0..30),
        host in "[a-z]{3,8}\\.(com|org|io)",
        path in "[a-z0-9/]{0,12}",
        cut in 0_usize..30,
    ) {
        let identity = identity(&title.join("-").to_lowercase(), &title.join(" "), &[]);
        let cut = cut.min(filler.len());
        let text = format!(
            "# {}\n\n{} https://{host}/{path} {}\n{}s {} `{}`\n",
            title.join(" "), filler[..cut].join(" "), title.join(" ").to_lowercase(), title[0],
            filler[cut..].join(" "), identity.ids[0],
        );
        let done = obfuscate(&text, &identity);
        assert_hidden(&done, &identity);
        prop_assert!(!done.text.contains(&host), "{}", done.text);
        // Numbers of the task stay.
        for number in filler.iter().filter(|word| word.contains('.')) {
            prop_assert!(done.text.contains(number.as_str()), "{number}: {}", done.text);
        }
    }

    #[test]
    fn any_text_can_be_obfuscated(text in "\\PC{0,300}", title in "\\PC{0,20}") {
        let done = obfuscate(&text, &identity("some-id", &title, &["a_b", "x.csv"]));
        let left = |c: char| ('\u{e000}'..='\u{e019}').contains(&c);
        prop_assert!(!done.text.contains(left));
    }
}
