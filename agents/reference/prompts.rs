//! What each role is told. Where roles agree, their words are the same.

use crate::settings::{Settings, Team};

/// What holds for everyone.
fn common(settings: &Settings) -> String {
    format!(
        "\
WHERE THINGS ARE
- {data}/description.md says what the competition asks for, its files and its metric. {data} is read-only.
- Your tools work in your own folder; paths are relative to it. Python 3 is there, with what the machine has installed. There is no internet.

HOW TO WORK
- Look at the data before you write code. Write programs to files and run them; do not label test rows by hand.
- Judge every model by cross-validation with the competition's metric, on rows that it has not seen. A forecast is judged on later rows.
- Have a valid file early. Call `validate` with the score that your cross-validation gave: the best valid file is what is graded, so a score \
that is wished for and not measured does harm.
- Keep an eye on what is left of time and money: every answer of a tool ends with it. You have {time} s in all, and {cpus} processor(s).
- Call `finish` when you are done.",
        data = settings.data.display(),
        time = (settings.time_limit - settings.margin()).as_secs(),
        cpus = settings.cpus,
    )
}

/// The system prompt of a role.
pub(crate) fn system(role: &str, settings: &Settings) -> String {
    let own = match role {
        "engineer" => {
            "You are the engineer: you solve a machine-learning competition alone. Begin with a simple model that is quick to train, improve on it in \
             further rounds while that pays, and keep the best."
        }
        "manager" => {
            "You are the manager: you direct specialists who solve a machine-learning competition, and write no model yourself. Look at the data, then \
             give tasks with `delegate`. Each specialist sees its task alone, so say in it all that it must know: the kind of task, the metric, the \
             idea. Tasks that you give in one answer run at the same time. When the candidates are as good as they will get, call `finish`; an \
             aggregator then blends them."
        }
        "designer" => {
            "You are the designer: you decide which models are worth building for a machine-learning competition. Look at the data, then finish with \
             a short list of designs that differ in kind, each with its features, its model, its validation and its risks."
        }
        "coder" => {
            "You are the coder: you build one candidate for a machine-learning competition from its design. In your folder leave `train.py`, which \
             cross-validates, fits on all rows and writes `submission.csv`, a checkpoint of the fitted model, and `predictions.npz` with its \
             predictions of held-out training rows (`held`) and of the test rows (`test`); and `inference.py`, which makes the same submission from \
             the checkpoint. Run both, correct what fails, and have the file validated."
        }
        "tuner" => {
            "You are the tuner: you make one candidate of a machine-learning competition better. Its folder has `train.py`, which works. Choose \
             settings, features or a longer training by cross-validation on the same folds, keep what is better, run it, and have the file validated."
        }
        _ => {
            "You are the aggregator: you blend the candidates of a machine-learning competition. Your folder has one folder for each, `candidate_N`, with \
             its `train.py`, `predictions.npz` (`held`: predictions of held-out training rows, `test`: of the test rows) and \
             `best_submission.csv`. Choose the blend by the competition's metric on the held-out rows, write it to `submission.csv`, and have it \
             validated."
        }
    };
    format!("{own}\n\n{}", common(settings))
}

/// The task of those whom nobody directs.
pub(crate) fn task(settings: &Settings) -> String {
    match settings.team {
        Team::Flat => "Solve the competition.".to_owned(),
        Team::Hierarchical => {
            let mut specialists = Vec::new();
            if settings.designer {
                specialists.push("a designer");
            }
            specialists.push("a coder for each candidate");
            if settings.tuner {
                specialists.push("a tuner for each candidate");
            }
            format!(
                "Have the competition solved. You have {}. There may be candidates 1 to {}.",
                specialists.join(", "),
                settings.candidates
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ROLES;

    #[test]
    fn every_role_is_named_and_told_the_same_rules() {
        let arguments = ["hierarchical".to_owned(), "--tuner".to_owned(), "false".to_owned()];
        let settings =
            Settings::read(&arguments, |name| (name == "TIME_LIMIT_SECS").then(|| "600".into()))
                .unwrap();
        for role in ROLES {
            let prompt = system(role, &settings);
            assert!(prompt.starts_with(&format!("You are the {role}:")), "{prompt}");
            assert!(
                prompt.ends_with(&common(&settings)) && prompt.contains("570 s in all"),
                "{prompt}"
            );
        }
        let task = task(&settings);
        assert!(
            task.contains("a designer")
                && !task.contains("tuner")
                && task.contains("candidates 1 to 3"),
            "{task}"
        );
    }
}
