use super::{Frame, FrameError};

impl Frame {
    /// The table with one integer column a class: 1 where `column` names that class, else 0.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn with_indicators<S: AsRef<str>>(
        &self,
        column: &str,
        classes: impl IntoIterator<Item = S>,
    ) -> Result<Self, FrameError> {
        let labels = self.texts(column)?;
        classes.into_iter().try_fold(self.clone(), |table, class| {
            let class = class.as_ref();
            table.with(
                class,
                labels.iter().map(|label| i64::from(label == class)).collect::<Vec<_>>(),
            )
        })
    }
}
