//! Images as OCI layouts, made without an engine.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// This machine's processors as images name them.
pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }
}

/// Writes a layout with one image of these layers (tars) into `dir`; `config` is what the image says
/// of itself. Gives the reference.
pub(crate) fn layout(dir: &Path, layers: &[Vec<u8>], config: &Value, architecture: &str) -> String {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8], kind: &str| {
        let digest = digest(bytes);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let layers: Vec<Value> = layers.iter().map(|layer| blob(layer, tar)).collect();
    let image = json!({
        "architecture": architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ids},
    });
    let image = blob(image.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest = json!({"schemaVersion": 2, "config": image, "layers": layers});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = blob(manifest.to_string().as_bytes(), kind);
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    format!("oci:{}", dir.display())
}

/// The image's settings that lines of a Dockerfile make.
pub(crate) fn config_of(lines: &str) -> Value {
    let mut config = json!({"Env": ["PATH=/bin"]});
    for line in lines.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "ENV" => {
                let env = config["Env"].as_array_mut().unwrap();
                env.extend(rest.split(' ').map(|pair| Value::String(pair.to_owned())));
            }
            "WORKDIR" => config["WorkingDir"] = rest.into(),
            "USER" => config["User"] = rest.into(),
            "VOLUME" => config["Volumes"] = json!({rest: {}}),
            "STOPSIGNAL" => config["StopSignal"] = rest.into(),
            "EXPOSE" => config["ExposedPorts"] = json!({format!("{rest}/tcp"): {}}),
            "ENTRYPOINT" => config["Entrypoint"] = serde_json::from_str(rest).unwrap(),
            "CMD" => config["Cmd"] = serde_json::from_str(rest).unwrap(),
            "ONBUILD" => config["OnBuild"] = json!([rest]),
            "HEALTHCHECK" => config["Healthcheck"] = json!({"Test": ["CMD", "/probe"]}),
            "LABEL" => {
                let pairs = rest.split(' ').filter_map(|pair| pair.split_once('='));
                let pairs = pairs.map(|(name, value)| (name.to_owned(), Value::from(value)));
                config["Labels"] = Value::Object(pairs.collect());
            }
            other => panic!("no settings are made of {other}"),
        }
    }
    config
}
