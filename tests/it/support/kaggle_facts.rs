//! What the fake server tells of competitions besides their data: facts, pages, leaderboards and the
//! list of all, by the paths of the REST API and by the calls of the newer one.

use std::collections::HashMap;
use std::io::Write as _;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response, header};
use serde_json::{Value, json};

use super::kaggle_server::{KaggleServer, Shared, answer, failure};

/// A competition as the site describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Described {
    /// The fields of the API's answer; those that are left out are as in [`Described::facts`].
    pub(crate) facts: Value,
    /// Name and content of its pages.
    pub(crate) pages: Vec<(String, String)>,
    /// The scores of its leaderboard, the winner's first; none for a competition without.
    pub(crate) board: Option<Vec<f64>>,
    /// The size that the list of files gives each, if it is not the real one.
    pub(crate) listed_bytes: Option<u64>,
    /// Whether the account may not see it.
    pub(crate) is_private: bool,
}

impl Described {
    fn facts(&self, id: &str) -> Value {
        let mut facts = json!({
            "id": 1, "ref": format!("https://www.kaggle.com/competitions/{id}"), "title": id,
            "url": format!("https://www.kaggle.com/competitions/{id}"), "description": "", "category": "Community",
            "reward": "Knowledge", "tags": [], "deadline": "2026-06-30T23:59:00Z", "enabledDate": "2026-05-01T00:00:00Z",
            "dateCreated": "2026-04-20T10:11:12.3456789Z", "mergerDeadline": null, "newEntrantDeadline": null,
            "kernelCount": 3, "teamCount": self.board.as_ref().map_or(0, Vec::len), "userHasEntered": true, "maxDailySubmissions": 5,
            "maxTeamSize": 5, "evaluationMetric": null, "awardsPoints": false, "isKernelsSubmissionsOnly": false,
            "submissionsDisabled": false, "hostName": "", "licenseName": "CC BY 4.0",
        });
        for (key, value) in self.facts.as_object().into_iter().flatten() {
            facts[key] = value.clone();
        }
        facts
    }

    /// The download of the leaderboard, with made-up teams.
    fn board(&self, id: &str) -> Option<Vec<u8>> {
        let scores = self.board.as_ref()?;
        let mut text =
            "Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames\n"
                .to_owned();
        for (rank, score) in (1..).zip(scores) {
            text.push_str(&format!(
                "{rank},{},team {rank},2026-06-01 10:00:00,{score},3,user{rank}\n",
                1000 + rank
            ));
        }
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let name = format!("{id}-publicleaderboard-2026-07-01T00:00:00.csv");
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
        Some(zip.finish().unwrap().into_inner())
    }
}

impl KaggleServer {
    /// Says what the site knows of a competition whose data were added.
    pub(crate) fn describe(&self, id: &str, described: Described) {
        self.shared().lock().described.insert(id.to_owned(), described);
    }
}

impl Shared {
    fn described(&self, id: &str) -> Described {
        self.lock().described.get(id).cloned().unwrap_or_default()
    }

    /// The checks that a question about facts passes; rules need not be accepted for them.
    fn admit_question(&self, headers: &HeaderMap, id: &str) -> Option<Response<Body>> {
        let refused = self.admit_facts(headers, id).err();
        refused.or_else(|| self.described(id).is_private.then(|| failure(404, "Not found", None)))
    }

    /// An answer about one competition, however it was asked for.
    pub(super) fn tell(&self, what: &str, id: &str, headers: &HeaderMap) -> Response<Body> {
        let response = self.admit_question(headers, id).unwrap_or_else(|| {
            let described = self.described(id);
            match what {
                "facts" => answer(&described.facts(id)),
                "pages" => {
                    let page = |(name, content): &(String, String)| {
                        json!({"name": name, "content": content, "isPublished": true, "mimeType": "text/markdown"})
                    };
                    answer(&json!({"pages": described.pages.iter().map(page).collect::<Vec<_>>()}))
                }
                "board" => match described.board(id) {
                    None => failure(404, "Not found", None),
                    Some(bytes) => Response::builder()
                        .header(header::CONTENT_TYPE, "application/zip")
                        .header(header::CONTENT_LENGTH, bytes.len())
                        .header(header::LAST_MODIFIED, "Tue, 03 Dec 2019 13:31:51 GMT")
                        .body(Body::from(bytes))
                        .unwrap(),
                },
                _ => {
                    let row = |(rank, score): (usize, &f64)| json!({"teamId": rank, "teamName": format!("team {rank}"), "submissionDate": "2026-06-01T10:00:00Z", "score": score.to_string()});
                    let rows: Vec<Value> = described.board.iter().flatten().enumerate().map(row).take(20).collect();
                    answer(&json!({"submissions": rows, "nextPageToken": ""}))
                }
            }
        });
        self.note(format!("/{what}/{id}"), headers, response.status());
        response
    }

    /// A page of the list of competitions, the latest deadline first.
    pub(super) fn tell_list(
        &self,
        search: &str,
        token: &str,
        size: usize,
        headers: &HeaderMap,
    ) -> Response<Body> {
        let size = size.clamp(1, 200);
        let response = self.admit_facts(headers, "").err().unwrap_or_else(|| {
            let ids: Vec<String> = self.lock().competitions.keys().cloned().collect();
            let mut all: Vec<Value> = ids
                .iter()
                .filter(|id| !self.described(id).is_private && id.contains(search))
                .map(|id| self.described(id).facts(id))
                .collect();
            all.sort_by(|a, b| b["deadline"].as_str().cmp(&a["deadline"].as_str()));
            let start: usize = token.parse().unwrap_or(0);
            let shown: Vec<&Value> = all.iter().skip(start).take(size).collect();
            let next =
                if start + size < all.len() { (start + size).to_string() } else { String::new() };
            answer(&json!({"competitions": shown, "nextPageToken": next}))
        });
        self.note("/list-competitions".to_owned(), headers, response.status());
        response
    }
}

pub(super) async fn facts(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    shared.tell("facts", &id, &headers)
}

pub(super) async fn pages(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    shared.tell("pages", &id, &headers)
}

pub(super) async fn board(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    shared.tell("board", &id, &headers)
}

pub(super) async fn board_view(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    shared.tell("board-view", &id, &headers)
}

pub(super) async fn competitions(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let text = |key: &str| query.get(key).map_or("", String::as_str);
    shared.tell_list(
        text("search"),
        text("pageToken"),
        text("pageSize").parse().unwrap_or(20),
        &headers,
    )
}
