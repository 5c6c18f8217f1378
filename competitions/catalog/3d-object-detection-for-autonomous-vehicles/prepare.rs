//! Drives of a car with cameras and lidars. 20 % of the logs become the test part; all tables
//! follow by their tokens.

use std::collections::{HashMap, HashSet};

use crate::formats::{Json, JsonList, JsonStream, JsonStyle};
use crate::frame::train_test_split;
use crate::prepare::{Prepare, PrepareError};

const MAP: &str = "map_raster_palo_alto.png";

pub(crate) fn prepare(ctx: &mut Prepare) -> Result<(), PrepareError> {
    let logs = tokens(&table(ctx, "log")?, "token")?;
    let (_, test_logs) = train_test_split(logs.len(), 0.2, 0)?.of(&logs);
    let is_test_log: HashSet<&str> = test_logs.iter().map(String::as_str).collect();
    ctx.check(
        logs.iter().collect::<HashSet<_>>().len() == logs.len(),
        "log.json",
        "expected every token once",
    )?;

    let sample = table(ctx, "sample")?;
    let known: HashSet<&str> = logs.iter().map(String::as_str).collect();
    let mut is_test_sample: HashMap<String, bool> = HashMap::new();
    for (id, scene) in tokens(&sample, "token")?.into_iter().zip(tokens(&sample, "scene_token")?) {
        ctx.check(
            known.contains(scene.as_str()),
            "sample.json",
            format!("expected a log, found `{scene}`"),
        )?;
        is_test_sample.insert(id, is_test_log.contains(scene.as_str()));
    }
    write_rows(ctx, &is_test_sample)?;
    for part in ["train", "test"] {
        let is_part = |test: bool| test == (part == "test");
        let of_log = |log: &str| is_part(is_test_log.contains(log));
        let of_sample = |id: &str| is_test_sample.get(id).is_some_and(|&test| is_part(test));
        let write = |name: &str, records: JsonStream<'_>| {
            ctx.write_json_stream(
                &format!("public/{part}_data/{name}.json"),
                records,
                JsonStyle::Compact,
            )
        };
        let write_filtered = |name: &str, key: &str, holds: &dyn Fn(&str) -> bool| {
            let table = table(ctx, name)?;
            let rows = rows_where(&table, key, holds)?;
            write(name, picked(&table, &rows))?;
            Ok::<_, PrepareError>((table, rows))
        };
        write_filtered("log", "token", &of_log)?;
        write_filtered("sample", "token", &of_sample)?;
        write_filtered("scene", "log_token", &of_log)?;
        let (data, rows) = write_filtered("sample_data", "sample_token", &of_sample)?;

        let sensors = column(&data, &rows, "calibrated_sensor_token")?;
        let mut seen = HashSet::new();
        let first: Vec<String> =
            sensors.into_iter().filter(|sensor| seen.insert(sensor.clone())).collect();
        write_by_token(ctx, part, "calibrated_sensor", &first)?;
        write_by_token(ctx, part, "ego_pose", &column(&data, &rows, "ego_pose_token")?)?;
        // The reference changes one map for both parts, so that both list the test logs.
        let mut maps = ctx.read_json("train_data/map.json")?.into_list("map.json")?;
        for map in &mut maps {
            map.set(
                "log_tokens",
                test_logs.iter().map(|log| log.as_str().into()).collect::<Vec<Json>>(),
            );
        }
        write("map", JsonStream::Value(Json::List(maps)))?;

        if part == "train" {
            let (annotations, rows) =
                write_filtered("sample_annotation", "sample_token", &of_sample)?;
            let instances: HashSet<String> =
                column(&annotations, &rows, "instance_token")?.into_iter().collect();
            write_filtered("instance", "token", &|id| instances.contains(id))?;
        }
        for name in ["attribute", "category", "sensor", "visibility"] {
            ctx.copy(
                &format!("train_data/{name}.json"),
                &format!("public/{part}_data/{name}.json"),
            )?;
        }
        ctx.copy(&format!("train_maps/{MAP}"), &format!("public/{part}_maps/{MAP}"))?;
        copy_recordings(ctx, part, &data, &rows)?;
    }
    Ok(())
}

/// The rows of `train.csv` by part; the answers get a confidence of 1.0 before each box.
fn write_rows(ctx: &Prepare, is_test_sample: &HashMap<String, bool>) -> Result<(), PrepareError> {
    let rows = ctx.read_csv("train.csv")?;
    if let Some(unknown) = rows.texts("Id")?.iter().find(|id| !is_test_sample.contains_key(*id)) {
        return Err(
            ctx.unexpected("train.csv", format!("expected ids of samples, found `{unknown}`"))
        );
    }
    let (test, train) = rows.partition("Id", |id| is_test_sample[id])?;
    ctx.write_csv("public/train.csv", &train)?;
    let boxes = test
        .texts("PredictionString")?
        .iter()
        .map(|text| with_confidences(ctx, text))
        .collect::<Result<Vec<_>, _>>()?;
    ctx.write_csv("private/test.csv", &test.with("PredictionString", boxes)?)?;
    let sample = test.select(["Id"])?.with("PredictionString", "")?;
    ctx.write_csv("public/sample_submission.csv", &sample)
}

fn with_confidences(ctx: &Prepare, boxes: &str) -> Result<String, PrepareError> {
    let parts: Vec<&str> = boxes.split(' ').collect();
    let is_whole = parts.len().is_multiple_of(8);
    ctx.check(is_whole, "train.csv", format!("expected eight values a box, found `{boxes}`"))?;
    Ok(parts
        .chunks(8)
        .map(|group| format!("1.0 {}", group.join(" ")))
        .collect::<Vec<_>>()
        .join(" "))
}

fn table(ctx: &Prepare, name: &str) -> Result<JsonList, PrepareError> {
    ctx.json_list(&format!("train_data/{name}.json"))
}

/// A key of all records.
fn tokens(table: &JsonList, key: &str) -> Result<Vec<String>, PrepareError> {
    column(table, &(0..table.len()).collect::<Vec<_>>(), key)
}

/// A key of some records.
fn column(table: &JsonList, rows: &[usize], key: &str) -> Result<Vec<String>, PrepareError> {
    rows.iter().map(|&row| Ok(table.get(row)?.text(key, table.name())?.to_owned())).collect()
}

fn rows_where(
    table: &JsonList,
    key: &str,
    holds: &dyn Fn(&str) -> bool,
) -> Result<Vec<usize>, PrepareError> {
    let mut rows = Vec::new();
    for (row, record) in table.iter().enumerate() {
        if holds(record?.text(key, table.name())?) {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn picked<'a>(table: &'a JsonList, rows: &'a [usize]) -> JsonStream<'a> {
    JsonStream::List(Box::new(rows.iter().map(|&row| table.get(row))))
}

/// Writes the records with these tokens, in this order and as often as they are named.
fn write_by_token(
    ctx: &Prepare,
    part: &str,
    name: &str,
    wanted: &[String],
) -> Result<(), PrepareError> {
    let table = table(ctx, name)?;
    let places: HashMap<String, usize> = tokens(&table, "token")?.into_iter().zip(0..).collect();
    let find = |token: &String| {
        let place = places.get(token).copied();
        place.ok_or_else(|| ctx.unexpected(table.name(), format!("expected a record `{token}`")))
    };
    let rows = wanted.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    ctx.write_json_stream(
        &format!("public/{part}_data/{name}.json"),
        picked(&table, &rows),
        JsonStyle::Compact,
    )
}

/// Copies pictures and lidar scans, each once.
fn copy_recordings(
    ctx: &Prepare,
    part: &str,
    data: &JsonList,
    rows: &[usize],
) -> Result<(), PrepareError> {
    let (mut files, mut seen) = (Vec::new(), HashSet::new());
    for &row in rows {
        let record = data.get(row)?;
        let name =
            record.text("filename", data.name())?.rsplit('/').next().unwrap_or_default().to_owned();
        let folder = match record.text("fileformat", data.name())? {
            "jpeg" => "images",
            "bin" => "lidar",
            other => {
                return Err(ctx.unexpected(
                    data.name(),
                    format!("expected `jpeg` or `bin`, found `{other}`"),
                ));
            }
        };
        if !seen.insert(name.clone()) {
            ctx.warn(&format!("`{name}` is listed twice and copied once"));
            continue;
        }
        files.push((format!("train_{folder}/{name}"), format!("public/{part}_{folder}/{name}")));
    }
    ctx.copy_all(files)
}
