//! The words that the rules know, and what a form of a word is.

use regex_lite::Regex;

/// Words of titles and ids that say what kind of task it is, or nothing at all: they stay, since
/// they name no competition and a task without them cannot be understood.
pub(super) const GENERIC: &[&str] = &[
    // Words of any title.
    "the",
    "and",
    "for",
    "with",
    "from",
    "into",
    "that",
    "this",
    "what",
    "when",
    "how",
    "who",
    "are",
    "can",
    "you",
    "your",
    "our",
    "all",
    "any",
    "may",
    "via",
    "not",
    "new",
    "two",
    "one",
    "acts",
    "edition",
    "only",
    "part",
    "demo",
    "playground",
    "series",
    "challenge",
    "challenges",
    "competition",
    "competitions",
    "contest",
    "kaggle",
    "kernels",
    "kernel",
    "notebook",
    "code",
    "overview",
    "description",
    "introduction",
    "evaluation",
    "getting",
    "started",
    "season",
    // Kinds of tasks.
    "classification",
    "classify",
    "classifying",
    "classifier",
    "detection",
    "detect",
    "detecting",
    "identification",
    "identify",
    "identifying",
    "recognition",
    "recognize",
    "categorization",
    "prediction",
    "predictions",
    "predict",
    "predicting",
    "regression",
    "segmentation",
    "segment",
    "matching",
    "match",
    "extraction",
    "extract",
    "normalization",
    "denoising",
    "imputation",
    "translation",
    "scoring",
    "score",
    "scores",
    "forecast",
    "forecasting",
    "forecasts",
    "ranking",
    "recommendation",
    "recommendations",
    "answering",
    "question",
    "questions",
    "answer",
    "answers",
    "tagging",
    "tag",
    "tags",
    "generation",
    "analysis",
    "estimation",
    "estimate",
    "localization",
    "counting",
    "count",
    "clustering",
    "reconstruction",
    "automated",
    "automatic",
    "personalized",
    // Kinds of data.
    "image",
    "images",
    "text",
    "texts",
    "document",
    "documents",
    "audio",
    "video",
    "videos",
    "speech",
    "sound",
    "sounds",
    "language",
    "languages",
    "english",
    "russian",
    "french",
    "german",
    "spanish",
    "chinese",
    "japanese",
    "hindi",
    "tamil",
    "arabic",
    "data",
    "dataset",
    "datasets",
    "set",
    "table",
    "tables",
    "tabular",
    "time",
    "label",
    "labels",
    "category",
    "categories",
    "class",
    "classes",
    "word",
    "words",
    "phrase",
    "phrases",
    "sentence",
    "sentences",
    "sentiment",
    "keyword",
    "keywords",
    "object",
    "objects",
    "price",
    "prices",
    "value",
    "values",
    "number",
    "numbers",
    "feature",
    "features",
    "property",
    "properties",
    "model",
    "models",
    "machine",
    "learning",
    "deep",
    "neural",
    "network",
    "networks",
    "random",
    "human",
];

/// Endings under which a word of the title is still that word.
pub(super) const ENDINGS: &[&str] =
    &["", "s", "es", "ing", "ed", "er", "ers", "al", "ic", "ly", "'s", "’s", "s'", "s’"];

/// Sections that say where a competition comes from and nothing of its task.
pub(super) const DROPPED: &[(&str, &str)] = &[
    ("prize", "prizes"),
    ("prizes", "prizes"),
    ("prizes & awards", "prizes"),
    ("awards", "prizes"),
    ("timeline", "dates"),
    ("important dates", "dates"),
    ("citation", "names"),
    ("citations", "names"),
    ("acknowledgement", "names"),
    ("acknowledgements", "names"),
    ("acknowledgment", "names"),
    ("acknowledgments", "names"),
    ("sponsor", "names"),
    ("sponsors", "names"),
    ("host", "names"),
    ("hosts", "names"),
    ("team", "names"),
    ("organizers", "names"),
    ("organisers", "names"),
    ("about the host", "names"),
    ("about the hosts", "names"),
    ("about the sponsor", "names"),
    ("about the sponsors", "names"),
    ("about the team", "names"),
    ("about the organizers", "names"),
    ("competition host", "names"),
    ("competition hosts", "names"),
    ("references", "names"),
];

/// Organisations and places that run competitions or give data to many of them.
pub(super) const ORGANISATIONS: &[&str] = &[
    "Google Research",
    "Google Cloud",
    "Google Brain",
    "Google",
    "Facebook AI",
    "Facebook",
    "Meta AI",
    "Microsoft Research",
    "Microsoft",
    "Amazon",
    "NVIDIA",
    "Nvidia",
    "IBM",
    "OpenAI",
    "Anthropic",
    "DeepMind",
    "Hugging Face",
    "Conversation AI",
    "Jigsaw",
    "Quora",
    "Yelp",
    "Zillow",
    "Airbnb",
    "Uber",
    "Lyft",
    "Netflix",
    "Twitter",
    "Reddit",
    "Wikipedia",
    "Wikimedia",
    "Stack Overflow",
    "Stack Exchange",
    "YouTube",
    "Booz Allen Hamilton",
    "Booz Allen",
    "DrivenData",
    "CrowdFlower",
    "Figure Eight",
    "CVPR",
    "ICCV",
    "ECCV",
    "NeurIPS",
    "NIPS",
    "ICML",
    "ICLR",
    "MICCAI",
    "FGVC",
    "RSNA",
    "SIIM",
    "NASA",
    "NOAA",
    "USGS",
    "NIH",
    "NFL",
    "CERN",
    "MIT",
    "Stanford",
    "Harvard",
    "Berkeley",
    "Cornell Tech",
    "Cornell",
    "Oxford",
    "Cambridge",
];

/// Data sets that models know by name.
pub(super) const DATA_SETS: &[&str] = &[
    "ImageNet",
    "CIFAR-10",
    "CIFAR-100",
    "CIFAR",
    "MNIST",
    "Fashion-MNIST",
    "Kuzushiji-MNIST",
    "MS COCO",
    "COCO",
    "Pascal VOC",
    "Open Images",
    "AudioSet",
    "FSD50K",
    "LibriSpeech",
    "Speech Commands",
    "SQuAD",
    "SuperGLUE",
    "IMDB",
    "IMDb",
    "Rotten Tomatoes",
    "WordNet",
    "iNaturalist",
    "PatchCamelyon",
    "PCam",
    "CheXpert",
    "MIMIC-CXR",
    "MIMIC",
    "BraTS",
    "LIDC-IDRI",
    "ISIC",
    "Natural Questions",
    "WikiText",
    "Common Crawl",
    "Project Gutenberg",
    "UCI Machine Learning Repository",
    "UCI",
    "OpenML",
    "Asirra",
    "Boston Housing",
    "Adult Income",
    "California Housing",
];

/// Verbs and phrases after which the name of an organiser stands.
pub(super) const BEFORE_ORGANISER: &str = concat!(
    r"(?:(?:[Hh]osted|[Ss]ponsored|[Oo]rgani[sz]ed|[Pp]resented|[Pp]rovided|[Ll]aunched|[Ff]unded|[Ss]upported|",
    r"[Cc]ollected|[Cc]urated|[Cc]reated|[Rr]eleased|[Dd]onated|[Pp]ublished)\s+by|",
    r"(?:[Pp]artnership|[Pp]artnering|[Pp]artnered|[Cc]ollaboration|[Cc]ollaborating|[Cc]ollaborated|",
    r"[Tt]eamed\s+up|[Jj]oined\s+forces)\s+with|[Tt]hanks\s+to|[Tt]hank|[Cc]ourtesy\s+of|[Oo]n\s+behalf\s+of)\s+(?:the\s+)?",
);

/// What follows the name of an organiser that begins a sentence.
pub(super) const AFTER_ORGANISER: &str = concat!(
    r"\s+(?:invites?|challenges|hosts|sponsors|has\s+(?:challenged|partnered|released|provided|collected|teamed)|",
    r"(?:is|are)\s+(?:hosting|inviting|challenging|sponsoring|asking|launching|offering|excited|proud|pleased|looking))\b",
);

/// Words that organisations are called by, in their names.
pub(super) const KINDS_OF_ORGANISATION: &str = concat!(
    r"(?:Inc|Ltd|LLC|Corp|Corporation|GmbH|Foundation|Institutes?|University|Laborator(?:y|ies)|Labs?|",
    r"Society|College|Hospital|Clinic|Museum|Association|Agency|Department|Ministry|Observatory|Cent(?:er|re)|",
    r"Commission|Consortium|Council|Academy)\b",
);

/// Whether a name cannot be taken for a plain word.
pub(super) fn has_shape(name: &str) -> bool {
    name.contains(['_', '.', '-', '/'])
        || name.contains(|c: char| c.is_ascii_digit())
        || name.chars().skip(1).any(char::is_uppercase)
}

/// A word in its singular, about.
pub(super) fn singular(word: &str) -> String {
    let cut = |n: usize| word[..word.len() - n].to_owned();
    match word {
        _ if word.len() > 4 && word.ends_with("ies") => cut(3) + "y",
        _ if ["xes", "ches", "shes", "sses", "zes"].iter().any(|end| word.ends_with(end)) => cut(2),
        _ if word.len() < 4 || ["ss", "us", "is"].iter().any(|end| word.ends_with(end)) => cut(0),
        _ if word.ends_with('s') => cut(1),
        _ => cut(0),
    }
}

/// The ending under which `text` is a form of `word`; both in small letters.
pub(super) fn ending_after(text: &str, word: &str) -> Option<&'static str> {
    if singular(text) == *word {
        return Some(if text == word { "" } else { "s" });
    }
    let rest = text.strip_prefix(word)?;
    let ending = ENDINGS.iter().find(|ending| **ending == rest)?;
    // Short words begin many others.
    let is_sure = word.len() >= 5 || ending.is_empty() || ending.contains(['s', '\'', '’']);
    is_sure.then_some(*ending)
}

/// A name without what is around it; empty if nothing is left that names anybody.
pub(super) fn trimmed_name(name: &str) -> String {
    const LEADING: [&str; 22] = [
        "The", "In", "This", "These", "Your", "We", "Our", "A", "An", "It", "With", "To", "For",
        "As", "And", "At", "By", "From", "Thanks", "Since", "You", "They",
    ];
    const SMALL: [&str; 11] = ["of", "the", "and", "for", "in", "&", "de", "di", "del", "la", "at"];
    let mut words: Vec<&str> = name.split_whitespace().collect();
    while words.first().is_some_and(|word| LEADING.contains(word) || SMALL.contains(word)) {
        words.remove(0);
    }
    while words.last().is_some_and(|word| SMALL.contains(word)) {
        words.pop();
    }
    let text = words.join(" ");
    let text = text.trim_end_matches(['.', '\'', '’', '-', '&']);
    let text = text.strip_suffix("'s").or_else(|| text.strip_suffix("’s")).unwrap_or(text);
    let names = text.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let small = word.to_lowercase();
        let is_kind = KIND_ALONE.contains(&small.as_str());
        word.chars().count() >= 2
            && !is_kind
            && !GENERIC.contains(&small.as_str())
            && !SMALL.contains(&small.as_str())
    });
    if names { text.to_owned() } else { String::new() }
}

/// Kinds of organisations that name none alone.
const KIND_ALONE: [&str; 12] = [
    "university",
    "institute",
    "department",
    "hospital",
    "museum",
    "society",
    "college",
    "agency",
    "platform",
    "academy",
    "center",
    "centre",
];

/// Any of these names, the longest first, as whole words.
pub(super) fn any_of<'a>(names: impl Iterator<Item = &'a str>) -> Option<Regex> {
    let mut names: Vec<&str> = names.collect();
    names.sort_by_key(|name| (std::cmp::Reverse(name.len()), *name));
    let edge =
        |c: Option<char>| if c.is_some_and(|c| c.is_ascii_alphanumeric()) { r"\b" } else { "" };
    let names: Vec<String> = names
        .into_iter()
        .map(|name| {
            let (first, last) = (edge(name.chars().next()), edge(name.chars().last()));
            format!("{first}{}{last}", regex_lite::escape(name))
        })
        .collect();
    (!names.is_empty()).then(|| Regex::new(&names.join("|")).ok()).flatten()
}

/// What has been found so far, each once.
#[derive(Default)]
pub(super) struct Seen(Vec<String>);

impl Seen {
    /// The letters of a text: the same text always has the same.
    pub(super) fn letters_of(&mut self, text: &str) -> String {
        let at = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        letters(at)
    }
}

/// A, B, ..., Z, AA, AB, ...
pub(super) fn letters(mut n: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'A' + (n % 26) as u8));
        n /= 26;
        if n == 0 {
            break;
        }
        n -= 1;
    }
    letters.iter().rev().collect()
}
