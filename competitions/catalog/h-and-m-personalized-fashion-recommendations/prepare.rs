//! Purchases of clothes. Those of the last week are held out; the answers list what each customer
//! bought in it.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use crate::frame::Frame;
use crate::prepare::{Prepare, PrepareError};

const PURCHASES: &str = "transactions_train.csv";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let purchases = ctx.read_csv(PURCHASES)?;
    let mut last = String::new();
    purchases.each("t_dat", |date| {
        let date = date.to_string();
        if date > last {
            last = date;
        }
    })?;
    let wrong =
        |_| ctx.unexpected(PURCHASES, format!("expected dates like `2020-09-22`, found `{last}`"));
    let last: NaiveDate = last.parse().map_err(wrong)?;
    // The day a week before the last is held out too.
    let first_held_out = (last - Days::new(7)).to_string();
    let (held_out, train) = purchases.partition("t_dat", |date| date >= first_held_out.as_str())?;
    ctx.write_csv(&format!("public/{PURCHASES}"), &train)?;

    let mut baskets: BTreeMap<String, String> = BTreeMap::new();
    for (customer, article) in
        held_out.texts("customer_id")?.into_iter().zip(held_out.texts("article_id")?)
    {
        let basket = baskets.entry(customer).or_default();
        if !basket.is_empty() {
            basket.push(' ');
        }
        basket.push_str(&article);
    }
    let (customers, baskets): (Vec<String>, Vec<String>) = baskets.into_iter().unzip();
    let answers = Frame::new("answers", customers.len())
        .with("customer_id", customers)?
        .with("prediction", baskets)?;
    ctx.write_csv("private/answers.csv", &answers)?;
    for file in ["sample_submission.csv", "articles.csv", "customers.csv"] {
        ctx.copy(file, &format!("public/{file}"))?;
    }
    ctx.copy_folder("images", "public/images")
}
