//! What the API tells of a competition besides its data: facts, pages, the leaderboard; and the list
//! of all competitions.
//!
//! # Source
//! Paths and field names are those of `kagglesdk` 0.1.38, `competitions/types`.

use std::io::{Cursor, Read as _};

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::Url;
use serde::{Deserialize, Deserializer, Serialize};

use super::client::{KaggleClient, api_status};
use super::error::{KaggleError, Server};

/// Answers of facts, pages and boards are far smaller than this.
const MOST_BYTES: usize = 64 << 20;

/// A competition as the API describes it. What a host left empty is empty here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompetitionFacts {
    /// Its address, or its name alone in older answers; see [`CompetitionFacts::slug`].
    #[serde(rename = "ref")]
    pub reference: String,
    #[serde(deserialize_with = "text")]
    pub title: String,
    #[serde(deserialize_with = "text")]
    pub url: String,
    /// One sentence.
    #[serde(deserialize_with = "text")]
    pub description: String,
    #[serde(deserialize_with = "text")]
    pub organization_name: String,
    /// `Featured`, `Research`, `Playground`, `Getting Started`, `Community` and so on.
    #[serde(deserialize_with = "text")]
    pub category: String,
    #[serde(deserialize_with = "text")]
    pub reward: String,
    #[serde(deserialize_with = "list")]
    pub tags: Vec<Tag>,
    #[serde(deserialize_with = "date")]
    pub deadline: Option<DateTime<Utc>>,
    /// When it was opened.
    #[serde(deserialize_with = "date")]
    pub enabled_date: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "date")]
    pub date_created: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "date")]
    pub new_entrant_deadline: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "number")]
    pub team_count: u64,
    pub user_has_entered: bool,
    /// The name that the host gave the score.
    #[serde(deserialize_with = "text")]
    pub evaluation_metric: String,
    /// Whether only notebooks are taken, which run on data that nobody sees.
    pub is_kernels_submissions_only: bool,
    pub submissions_disabled: bool,
    /// The licence of the data, such as `CC0: Public Domain`.
    #[serde(deserialize_with = "text")]
    pub license_name: String,
}

impl CompetitionFacts {
    /// The name in addresses, which is the competition's id in every call.
    pub fn slug(&self) -> &str {
        let reference = if self.reference.is_empty() { &self.url } else { &self.reference };
        reference.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }
}

/// A subject that a competition is filed under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tag {
    #[serde(rename = "ref")]
    pub reference: String,
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Such as `data type > image data`.
    #[serde(deserialize_with = "text")]
    pub full_path: String,
}

/// A page of a competition, such as `Description`, `Evaluation` or `rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompetitionPage {
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Markdown or HTML, as `mime_type` says.
    #[serde(deserialize_with = "text")]
    pub content: String,
    #[serde(deserialize_with = "text")]
    pub mime_type: String,
}

/// Which competitions are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Words that must occur.
    pub search: Option<String>,
    /// A category in the API's word, such as `HOST_SEGMENT_FEATURED`; all if none.
    pub category: Option<String>,
    /// The order in the API's word; the latest deadline first if none.
    pub sort_by: Option<String>,
    /// No more than this many are asked for.
    pub limit: Option<usize>,
}

/// One page of the list of competitions.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListPage {
    #[serde(rename_all = "camelCase")]
    Page {
        #[serde(default)]
        competitions: Vec<CompetitionFacts>,
        #[serde(default)]
        next_page_token: Option<String>,
    },
    /// What servers before 2025 sent.
    Plain(Vec<CompetitionFacts>),
}

impl KaggleClient {
    /// The facts of one competition.
    ///
    /// # Errors
    /// [`KaggleError`]; [`KaggleError::NotFound`] also for a private one that the account may not
    /// see.
    pub async fn facts(&self, slug: &str) -> Result<CompetitionFacts, KaggleError> {
        let url = self.url(&["competitions", "get", slug]);
        self.json(slug, &url, &[], "the facts").await
    }

    /// The pages of one competition.
    ///
    /// # Errors
    /// [`KaggleError`].
    pub async fn pages(&self, slug: &str) -> Result<Vec<CompetitionPage>, KaggleError> {
        #[derive(Deserialize)]
        struct Pages {
            #[serde(default, deserialize_with = "list")]
            pages: Vec<CompetitionPage>,
        }
        let url = self.url(&["competitions", slug, "pages"]);
        let pages: Pages = self.json(slug, &url, &[], "the pages").await?;
        Ok(pages.pages)
    }

    /// The leaderboard as the CSV file that Kaggle hands out: the final one where the competition
    /// is over. None if it has none.
    ///
    /// # Errors
    /// [`KaggleError`]; [`KaggleError::BadAnswer`] for what is no archive with a table.
    pub async fn leaderboard_csv(&self, slug: &str) -> Result<Option<Vec<u8>>, KaggleError> {
        let url = self.url(&["competitions", slug, "leaderboard", "download"]);
        let bytes = match self.bytes(slug, &url, &[], "the leaderboard").await {
            Ok(bytes) => bytes,
            Err(KaggleError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !bytes.starts_with(b"PK") {
            return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
        }
        unpacked_table(bytes).map_err(|why| KaggleError::BadAnswer {
            server: Server::Api,
            what: format!("the leaderboard of `{slug}`: {why}"),
        })
    }

    /// Lists competitions, all pages of the list or as many as `query` allows. The server also
    /// lists what is over.
    ///
    /// # Errors
    /// [`KaggleError`].
    pub async fn list(&self, query: &ListQuery) -> Result<Vec<CompetitionFacts>, KaggleError> {
        /// The most that the server gives at once.
        const PAGE: &str = "200";
        let limit = query.limit.unwrap_or(usize::MAX);
        let url = self.url(&["competitions", "list"]);
        let mut found: Vec<CompetitionFacts> = Vec::new();
        let mut token = String::new();
        while found.len() < limit {
            let mut asked = vec![
                ("group", "COMPETITION_LIST_TAB_EVERYTHING"),
                (
                    "sortBy",
                    query.sort_by.as_deref().unwrap_or("COMPETITION_SORT_BY_LATEST_DEADLINE"),
                ),
                ("pageSize", PAGE),
            ];
            asked.extend(query.category.as_deref().map(|category| ("category", category)));
            asked.extend(query.search.as_deref().map(|words| ("search", words)));
            if !token.is_empty() {
                asked.push(("pageToken", &token));
            }
            let page = self.json("", &url, &asked, "the list of competitions").await?;
            let (competitions, next) = match page {
                ListPage::Page { competitions, next_page_token } => (competitions, next_page_token),
                ListPage::Plain(competitions) => (competitions, None),
            };
            let got_some = !competitions.is_empty();
            found.extend(competitions);
            match next.filter(|next| got_some && !next.is_empty() && *next != token) {
                Some(next) => token = next,
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// An answer read as JSON; `what` names it in messages.
    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        slug: &str,
        url: &Url,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<T, KaggleError> {
        let bytes = self.bytes(slug, url, query, what).await?;
        serde_json::from_slice(&bytes).map_err(|error| bad_answer(slug, what, &error.to_string()))
    }

    /// An answer of the API, or of the server that it sends one to, at most [`MOST_BYTES`] long.
    async fn bytes(
        &self,
        slug: &str,
        url: &Url,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Vec<u8>, KaggleError> {
        self.retrying(async || {
            let mut response = self.get_api(url, query).await?;
            if response.status().is_redirection() {
                let source = self.redirected(url, &response)?;
                response = self.send_storage(&source, self.storage_request(&source)).await?;
            }
            let mut response = api_status(slug, response).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|error| self.connection(Server::Api, error))?
            {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > MOST_BYTES {
                    let why = format!("it has more than {MOST_BYTES} bytes");
                    return Err(bad_answer(slug, what, &why));
                }
            }
            Ok(bytes)
        })
        .await
    }
}

fn bad_answer(slug: &str, what: &str, why: &str) -> KaggleError {
    let of = if slug.is_empty() { String::new() } else { format!(" of `{slug}`") };
    KaggleError::BadAnswer { server: Server::Api, what: format!("{what}{of}: {why}") }
}

/// The first table in an archive.
fn unpacked_table(bytes: Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let count = archive.len();
    let is_table = |index: &usize| {
        archive
            .by_index(*index)
            .is_ok_and(|member| member.name().is_ok_and(|name| name.ends_with(".csv")))
    };
    let Some(index) = (0..count).find(is_table) else {
        return if count == 0 { Ok(None) } else { Err("there is no table in it".to_owned()) };
    };
    let member = archive.by_index(index).map_err(|e| e.to_string())?;
    let mut text = Vec::new();
    member.take(MOST_BYTES as u64).read_to_end(&mut text).map_err(|e| e.to_string())?;
    Ok(Some(text))
}

/// A text that may be null.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.unwrap_or_default())
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time with or without a zone, which is UTC; none for what is no time.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    Ok(parse_date(&text))
}

fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let plain =
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc());
    zoned.or_else(|_| plain()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_left_empty_is_empty() {
        let facts: CompetitionFacts = serde_json::from_str(
            r#"{"id": 1, "ref": "https://www.kaggle.com/competitions/some-name", "title": "T",
                "tags": null, "deadline": "2026-06-01T23:59:00Z", "enabledDate": "2026-03-01T00:00:00.5",
                "evaluationMetric": null, "teamCount": null, "somethingNew": [1]}"#,
        )
        .unwrap();
        assert_eq!(facts.slug(), "some-name");
        assert_eq!(facts.deadline.unwrap().to_rfc3339(), "2026-06-01T23:59:00+00:00");
        assert_eq!(facts.enabled_date.unwrap().timestamp_subsec_millis(), 500);
        assert_eq!((facts.evaluation_metric.as_str(), facts.team_count), ("", 0));
        let older: CompetitionFacts = serde_json::from_str(r#"{"ref": "some-name"}"#).unwrap();
        assert_eq!(older.slug(), "some-name");
    }

    #[test]
    fn a_list_may_be_plain_or_paged() {
        for text in
            [r#"[{"ref": "a"}]"#, r#"{"competitions": [{"ref": "a"}], "nextPageToken": ""}"#]
        {
            let page: ListPage = serde_json::from_str(text).unwrap();
            let (ListPage::Page { competitions, .. } | ListPage::Plain(competitions)) = page;
            assert_eq!(competitions.len(), 1, "{text}");
        }
    }

    #[test]
    fn the_table_of_an_archive_is_found() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for (name, text) in [("readme.txt", "x"), ("board.csv", "Score\n1\n")] {
            zip.start_file(name, options).unwrap();
            std::io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
        }
        let bytes = zip.finish().unwrap().into_inner();
        assert_eq!(unpacked_table(bytes).unwrap().as_deref(), Some(&b"Score\n1\n"[..]));
        assert!(unpacked_table(b"PK no archive".to_vec()).is_err());
    }
}
