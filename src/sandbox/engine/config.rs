//! MLE-bench's container_config JSON, as its `agents/run.py` takes it.

use std::path::Path;

use bytesize::ByteSize;
use serde_json::{Map, Value};

use crate::attempt::limits::{GpuRequest, Limits, Network};

/// What a container_config asks for; what it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerConfig {
    /// `nano_cpus` / 1e9.
    pub cpus: Option<f64>,
    /// `mem_limit`.
    pub memory_bytes: Option<u64>,
    /// `shm_size`.
    pub shm_bytes: Option<u64>,
    /// `pids_limit`.
    pub pids: Option<u64>,
    /// `runtime`.
    pub runtime: Option<String>,
    /// `cpuset_cpus`.
    pub cpuset: Option<String>,
    /// `gpus`.
    pub gpus: GpuRequest,
    /// `network_mode`: `none` is sealed, anything else is open.
    pub network: Option<Network>,
}

/// Why a container_config was refused.
#[derive(Debug, thiserror::Error)]
pub enum ContainerConfigError {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is no JSON object.
    #[error("container config is not a JSON object")]
    NotAnObject(#[source] Option<serde_json::Error>),
    /// A value is of the wrong kind.
    #[error("`{key}` in the container config is `{value}`, expected {expected}")]
    Value {
        /// Which.
        key: String,
        /// What it is.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A key that would open the container or change what the harness sets itself.
    #[error("`{key}` in the container config is not supported: {why}")]
    Refused {
        /// Which.
        key: String,
        why: &'static str,
    },
}

impl ContainerConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`ContainerConfig::parse`], and if it cannot be read.
    pub fn read(path: &Path) -> Result<Self, ContainerConfigError> {
        Self::parse(&fs_err::read_to_string(path)?)
    }

    /// Reads the JSON text.
    ///
    /// # Errors
    /// Names the key and the value that cannot be taken.
    pub fn parse(text: &str) -> Result<Self, ContainerConfigError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| ContainerConfigError::NotAnObject(Some(error)))?;
        let Value::Object(map) = value else { return Err(ContainerConfigError::NotAnObject(None)) };
        let mut config = Self::default();
        for (key, value) in &map {
            config.set(key, value, &map)?;
        }
        Ok(config)
    }

    fn set(
        &mut self,
        key: &str,
        value: &Value,
        all: &Map<String, Value>,
    ) -> Result<(), ContainerConfigError> {
        let bad = |expected| ContainerConfigError::Value {
            key: key.to_string(),
            value: value.to_string(),
            expected,
        };
        let refused = |why| ContainerConfigError::Refused { key: key.to_string(), why };
        match key {
            _ if value.is_null() => {}
            "nano_cpus" => {
                let nano = value.as_f64().filter(|nano| *nano >= 0.0 && nano.is_finite());
                self.cpus = Some(nano.ok_or_else(|| bad("a number of 0 or more"))?.trunc() / 1e9);
            }
            "mem_limit" => {
                self.memory_bytes = Some(size(value).ok_or_else(|| bad("a size such as `64g`"))?)
            }
            "shm_size" => {
                self.shm_bytes = Some(size(value).ok_or_else(|| bad("a size such as `4G`"))?)
            }
            "pids_limit" => {
                let limit = value.as_i64().ok_or_else(|| bad("a whole number"))?;
                self.pids = Some(u64::try_from(limit).unwrap_or(0));
            }
            "runtime" => {
                self.runtime = Some(value.as_str().ok_or_else(|| bad("a name"))?.to_string())
            }
            "cpuset_cpus" => {
                self.cpuset =
                    Some(value.as_str().ok_or_else(|| bad("a list such as `0-3`"))?.to_string())
            }
            "gpus" => {
                let expected = "-1 for all, or a number of GPUs";
                self.gpus = match value.as_i64().ok_or_else(|| bad(expected))? {
                    0 => GpuRequest::None,
                    -1 => GpuRequest::All,
                    count => GpuRequest::Count(u32::try_from(count).map_err(|_| bad(expected))?),
                };
            }
            "network_mode" => {
                let mode = value.as_str().ok_or_else(|| bad("a name"))?;
                self.network = Some(if mode == "none" { Network::Sealed } else { Network::Open });
            }
            "network_disabled" => {
                if value.as_bool().ok_or_else(|| bad("true or false"))?
                    && !all.contains_key("network_mode")
                {
                    self.network = Some(Network::Sealed);
                }
            }
            "image" | "name" | "detach" | "volumes" | "environment" | "privileged" => {
                return Err(refused("the harness sets it itself"));
            }
            "cap_add" | "security_opt" | "devices" | "ipc_mode" | "pid_mode" | "userns_mode" => {
                return Err(refused("it would open the container"));
            }
            _ => return Err(refused("it is not among the keys this version knows")),
        }
        Ok(())
    }

    /// Puts what it names over `limits`.
    pub fn apply(&self, limits: &mut Limits) {
        limits.cpus = self.cpus.unwrap_or(limits.cpus);
        limits.memory_bytes = self.memory_bytes.unwrap_or(limits.memory_bytes);
        limits.shm_bytes = self.shm_bytes.unwrap_or(limits.shm_bytes);
        limits.pids = self.pids.unwrap_or(limits.pids);
    }
}

/// A size as docker-py reads it: a number of bytes, or a number with `b`, `k`, `m`, `g` or `t` for
/// powers of 1024.
fn size(value: &Value) -> Option<u64> {
    if let Some(bytes) = value.as_f64() {
        return (bytes >= 0.0 && bytes.fract() == 0.0).then_some(bytes as u64);
    }
    let text = value.as_str()?.trim().to_ascii_lowercase();
    let text =
        text.strip_suffix('b').filter(|rest| rest.ends_with(['k', 'm', 'g', 't'])).unwrap_or(&text);
    let unit = match text.chars().last()? {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        _ => 0,
    };
    let digits = text.trim_end_matches(['b', 'k', 'm', 'g', 't']);
    let number: f64 =
        digits.parse().ok().filter(|number: &f64| *number >= 0.0 && number.is_finite())?;
    Some(ByteSize::b((number * (1_u64 << unit) as f64) as u64).as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_default_is_read() {
        let text =
            r#"{"mem_limit": null, "shm_size": "4G", "nano_cpus": 4e9, "runtime": "sysbox-runc"}"#;
        let config = ContainerConfig::parse(text).unwrap();
        let runtime = Some("sysbox-runc".to_string());
        let expected = ContainerConfig {
            cpus: Some(4.0),
            shm_bytes: Some(4 << 30),
            runtime,
            ..ContainerConfig::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn sizes_are_docker_pys() {
        let cases = [
            (r#""440g""#, Some(440 << 30)),
            (r#""1.5k""#, Some(1536)),
            (r#""100b""#, Some(100)),
            (r#""64GB""#, Some(64 << 30)),
            ("1024", Some(1024)),
            (r#""7""#, Some(7)),
            (r#""x""#, None),
            (r#""""#, None),
            ("-1", None),
            ("true", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(&serde_json::from_str(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn keys_that_open_the_container_are_refused_by_name() {
        for (text, message) in [
            (
                r#"{"cap_add": ["SYS_ADMIN"]}"#,
                "`cap_add` in the container config is not supported: it would open the container",
            ),
            (
                r#"{"image": "x"}"#,
                "`image` in the container config is not supported: the harness sets it itself",
            ),
            (
                r#"{"gpus": "two"}"#,
                "`gpus` in the container config is `\"two\"`, expected -1 for all, or a number of GPUs",
            ),
            ("[]", "container config is not a JSON object"),
        ] {
            assert_eq!(ContainerConfig::parse(text).unwrap_err().to_string(), message);
        }
        assert_eq!(ContainerConfig::parse(r#"{"gpus": -1}"#).unwrap().gpus, GpuRequest::All);
        assert_eq!(
            ContainerConfig::parse(r#"{"network_mode": "none"}"#).unwrap().network,
            Some(Network::Sealed)
        );
    }
}
