//! The rules of the game as the agent reads them: `/home/instructions.txt`.

use crate::attempt::launch::DataMode;
use crate::attempt::limits::Limits;

/// The text for an attempt with these limits.
///
/// Says what MLE-bench's own instructions say, in our words, and names the budget besides.
pub(crate) fn text(limits: &Limits, data: DataMode) -> String {
    let access = match data {
        DataMode::ReadOnly => "read-only",
        DataMode::Copy => "your own copy, which you may change",
    };
    let time = crate::attempt::text::duration(limits.timeout);
    let grace = crate::attempt::text::duration(limits.grace);
    format!(
        "You take part in MLE-bench, an offline collection of Kaggle competitions. Your task is one of them: build and train a \
machine-learning model, and predict the test set with it. Labelling test rows by hand is not allowed.

WHERE THINGS ARE
- /home/data/description.md   what the competition asks for, its data and its metric
- /home/data/                 the data; {access}
- /home/submission/           your result goes here
- /home/code/, /home/logs/    what you leave here is kept with your result

WHAT YOU MUST DO
- Write your predictions to /home/submission/submission.csv. It is always a CSV file with this name, whatever the competition's own \
page says about notebooks, archives or other names.
- Train and test data were split anew for this benchmark; counts on the competition's page may differ.
- Make the competition's metric on the hidden test labels as good as you can.

CHECKING YOUR FILE
POST it to http://localhost:5000/validate, or run `/home/validate_submission.sh FILE`. You learn whether it is well formed, not how \
well it scores. Ask as often as you like.

YOUR BUDGET
- Time: {time}. Then your processes get SIGTERM and {grace} to save their work before they are killed.
- The environment has the figures: TIME_LIMIT_SECS, MEDALIST_GRACE_S, MEDALIST_CPUS, MEDALIST_MEMORY_BYTES, MEDALIST_DISK_BYTES, \
MEDALIST_GPUS.
- Whatever is in /home/submission when you end, or are ended, is graded.

FAIR PLAY
Do not look up or copy other people's solutions to this competition; a submission found to be copied is disqualified. Where this \
page and the competition's description differ, this page holds.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_named() {
        let copied = text(&Limits::default(), DataMode::Copy);
        assert!(copied.contains("the data; your own copy"), "{copied}");
        let text = text(&Limits::default(), DataMode::ReadOnly);
        assert!(text.contains("the data; read-only"), "{text}");
        assert!(text.contains("Time: 24 h 00 min") && text.contains("2 min 00 s"), "{text}");
        assert!(text.contains("/home/submission/submission.csv"));
    }
}
