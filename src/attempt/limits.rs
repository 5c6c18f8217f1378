//! What an attempt may use: time, memory, processes, disk, network and GPUs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use medalist_competitions::suggestion;
use serde::{Deserialize, Serialize};

/// Everything one attempt may use. Every bound holds for the whole container, not for one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Wall clock from the agent's start to the soft deadline, at which it gets SIGTERM.
    #[serde(rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
    /// Time between SIGTERM and the kill.
    #[serde(rename = "grace_s", with = "seconds")]
    pub grace: Duration,
    /// CPUs, in fractions of one; 0 means no limit.
    pub cpus: f64,
    /// Memory in bytes; swap is switched off, so this is all there is. 0 means no limit.
    pub memory_bytes: u64,
    /// Size of /dev/shm in bytes.
    pub shm_bytes: u64,
    /// Processes and threads alive at once; 0 means no limit.
    pub pids: u64,
    /// Bytes written to the container's own layer, /home included; 0 means no limit.
    pub disk_bytes: u64,
    /// Bytes of the agent's output that are kept in `run.log`; what comes after is counted and
    /// dropped.
    pub log_bytes: u64,
    /// Largest submission that is validated or salvaged.
    pub submission_bytes: u64,
    /// Open files per process.
    pub nofile: u64,
}

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(24 * 3600),
            grace: Duration::from_secs(120),
            cpus: 4.0,
            memory_bytes: 32 * GIB,
            shm_bytes: 4 * GIB,
            pids: 4096,
            disk_bytes: 200 * GIB,
            log_bytes: 256 * MIB,
            submission_bytes: 2 * GIB,
            nofile: 65_536,
        }
    }
}

impl Limits {
    /// The most bytes of a single file in a container, if there is a limit of disk: the agent's output, which is kept in
    /// a file, must fit.
    #[must_use]
    pub fn largest_file(&self) -> Option<u64> {
        let log = self.log_bytes.saturating_add(1 << 20);
        (self.disk_bytes > 0).then(|| self.disk_bytes.max(log))
    }
}

/// What the agent can reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but `localhost`, where the validation service answers.
    #[default]
    Sealed,
    /// The named hosts, through an HTTP proxy on `localhost` that counts and logs.
    /// An entry is `host`, `host:port` or `*.domain`; without a port, 443 and 80 are meant.
    Allowlist(Vec<String>),
    /// Everything, as MLE-bench does.
    Open,
}

/// A text that is neither a word for a network nor a list of hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{word}` is not a network{}; expected `sealed`, `open`, or hosts such as `example.org,*.example.net:8443`",
    meant(.word)
)]
pub struct NetworkError {
    /// What was asked for.
    pub word: String,
}

/// The networks that have a word.
const WORDS: [&str; 2] = ["sealed", "open"];

/// What somebody meant who typed a word that is no network.
fn meant(word: &str) -> String {
    let host = word.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    match host.filter(|host| is_host(host)) {
        Some(host) => format!("; name the host alone: `{host}`"),
        None => suggestion(word, WORDS),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `sealed`, `open`, or hosts separated by commas. A host has a dot or a port, so that a
    /// mistyped word never becomes an allowlist.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match text.trim() {
            "sealed" => return Ok(Self::Sealed),
            "open" => return Ok(Self::Open),
            _ => {}
        }
        let hosts = text.split(',').map(str::trim).map(|host| match is_host(host) {
            true => Ok(host.to_owned()),
            false => Err(NetworkError { word: host.to_owned() }),
        });
        hosts.collect::<Result<_, _>>().map(Self::Allowlist)
    }
}

/// Whether the text is `host`, `host:port`, `*.domain`, an address or `[address]:port`.
fn is_host(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok_and(|at| at.port() > 0) {
        return true;
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return false;
    }
    let domain = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.contains('.') || port.is_some()) && domain.split('.').all(is_label)
}

impl Network {
    /// The mode in a word, for records: `sealed`, `allowlist` or `open`.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Allowlist(_) => "allowlist",
            Self::Open => "open",
        }
    }

    /// The hosts of an allowlist.
    pub fn hosts(&self) -> &[String] {
        match self {
            Self::Allowlist(hosts) => hosts,
            Self::Sealed | Self::Open => &[],
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed => f.write_str("sealed"),
            Self::Open => f.write_str("open"),
            Self::Allowlist(hosts) => f.write_str(&hosts.join(",")),
        }
    }
}

/// What an attempt asks for in GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuRequest {
    /// No GPU.
    #[default]
    None,
    /// So many whole GPUs (or MIG slices).
    Count(u32),
    /// Every GPU of the machine.
    All,
    /// These GPUs, by UUID.
    Uuids(Vec<String>),
}

impl fmt::Display for GpuRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Count(count) => write!(f, "{count}"),
            Self::All => f.write_str("all"),
            Self::Uuids(uuids) => f.write_str(&uuids.join(",")),
        }
    }
}

/// A text that asks for GPUs in no known way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a number of GPUs, expected a number, `all`, `none`, or UUIDs such as `GPU-…,GPU-…`"
)]
pub struct GpuRequestError(String);

impl FromStr for GpuRequest {
    type Err = GpuRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" | "0" => Ok(Self::None),
            "all" => Ok(Self::All),
            text if text.chars().all(|c| c.is_ascii_digit()) => {
                text.parse().map(Self::Count).map_err(|_| GpuRequestError(text.to_owned()))
            }
            text => {
                let mut uuids: Vec<String> = Vec::new();
                for word in text.split(',') {
                    let uuid = uuid(word)?;
                    if uuids.contains(&uuid) {
                        return Err(GpuRequestError(uuid));
                    }
                    uuids.push(uuid);
                }
                Ok(Self::Uuids(uuids))
            }
        }
    }
}

/// The UUID of a GPU or slice.
///
/// # Errors
/// [`GpuRequestError`] for any other word.
pub fn uuid(word: &str) -> Result<String, GpuRequestError> {
    let word = word.trim();
    let is_uuid = word.starts_with("GPU-") || word.starts_with("MIG-");
    is_uuid.then(|| word.to_owned()).ok_or_else(|| GpuRequestError(word.to_owned()))
}

/// A GPU handed to an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuHandle {
    /// `GPU-…` or `MIG-…`, as the driver prints it.
    pub uuid: String,
    /// The driver's index of the GPU, which names its device node.
    pub index: u32,
    /// Device nodes of this GPU, such as `/dev/nvidia0`.
    pub device_nodes: Vec<PathBuf>,
}

/// How a GPU gets into the container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuAccess {
    /// The Engine's `--gpus` (NVIDIA Container Toolkit).
    #[default]
    DeviceRequest,
    /// `runtime = nvidia` and `NVIDIA_VISIBLE_DEVICES`.
    NvidiaRuntime,
    /// CDI names, such as `nvidia.com/gpu=<uuid>`.
    Cdi,
    /// Plain device nodes and the driver's libraries, for machines without the toolkit.
    DeviceNodes {
        /// Nodes every GPU needs: `/dev/nvidiactl`, `/dev/nvidia-uvm`, `/dev/nvidia-uvm-tools`.
        control_nodes: Vec<PathBuf>,
        /// Directories of the driver that are mounted read-only at the same place.
        driver_dirs: Vec<PathBuf>,
        /// Single libraries of the driver that are mounted read-only into [`DRIVER_LIBRARIES`],
        /// where the driver has no directory of its own.
        #[serde(default)]
        driver_files: Vec<PathBuf>,
        /// What `LD_LIBRARY_PATH` must hold.
        library_path: String,
    },
}

/// Where single libraries of the driver are mounted in a container.
pub const DRIVER_LIBRARIES: &str = "/usr/local/nvidia/lib64";

impl GpuAccess {
    /// The name that flags, records and messages use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeviceRequest => "device-request",
            Self::NvidiaRuntime => "nvidia-runtime",
            Self::Cdi => "cdi",
            Self::DeviceNodes { .. } => "device-nodes",
        }
    }
}

/// Durations as seconds in files: a whole number where it is one.
pub mod seconds {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes seconds.
    ///
    /// # Errors
    /// What the serializer reports.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if value.subsec_nanos() == 0 {
            serializer.serialize_u64(value.as_secs())
        } else {
            serializer.serialize_f64(value.as_secs_f64())
        }
    }

    /// Reads seconds, whole or fractional.
    ///
    /// # Errors
    /// Negative, not finite, or too large for a [`Duration`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(value).map_err(|_| {
            serde::de::Error::custom(format!(
                "`{value}` is not a number of seconds, expected 0 or more"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_a_round_trip_and_name_units() {
        let limits = Limits { timeout: Duration::from_millis(1500), ..Limits::default() };
        let text = serde_json::to_string(&limits).unwrap();
        assert!(text.contains(r#""timeout_s":1.5"#), "{text}");
        assert!(text.contains(r#""grace_s":120"#), "{text}");
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
    }

    #[test]
    fn negative_seconds_are_refused() {
        let mut value = serde_json::to_value(Limits::default()).unwrap();
        value["timeout_s"] = serde_json::json!(-1);
        let message = serde_json::from_value::<Limits>(value).unwrap_err().to_string();
        assert!(message.contains("`-1` is not a number of seconds"), "{message}");
    }

    #[test]
    fn gpus_are_asked_for_in_four_ways() {
        let list = GpuRequest::Uuids(vec!["GPU-1".into(), "MIG-2".into()]);
        let cases = [
            ("none", GpuRequest::None),
            ("2", GpuRequest::Count(2)),
            ("all", GpuRequest::All),
            ("GPU-1,MIG-2", list),
        ];
        for (text, request) in cases {
            assert_eq!(text.parse(), Ok(request.clone()));
            assert_eq!(request.to_string(), text);
        }
        assert_eq!("0".parse(), Ok(GpuRequest::None));
        for text in ["", "-1", "two", "0,1", "GPU-1,GPU-1", "99999999999"] {
            assert!(text.parse::<GpuRequest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mistyped_word_is_no_allowlist() {
        let allowlist = |hosts: &[&str]| {
            Network::Allowlist(hosts.iter().map(|host| (*host).to_owned()).collect())
        };
        let cases = [
            ("sealed", Network::Sealed),
            ("open", Network::Open),
            ("example.org", allowlist(&["example.org"])),
            ("example.org, *.example.net:8443", allowlist(&["example.org", "*.example.net:8443"])),
            ("mirror:3128,192.0.2.1", allowlist(&["mirror:3128", "192.0.2.1"])),
            ("[2001:db8::1]:443,2001:db8::1", allowlist(&["[2001:db8::1]:443", "2001:db8::1"])),
        ];
        for (text, network) in cases {
            assert_eq!(text.parse(), Ok(network), "{text}");
        }
        for (text, nearest) in [
            ("seald", Some("sealed")),
            ("Sealed", Some("sealed")),
            ("opn", Some("open")),
            ("example.org,opne", Some("open")),
            ("none", None),
            ("mirror", None),
            ("mirror:", None),
            ("mirror:0", None),
            ("example.org:https", None),
            ("https://example.org", None),
            ("example..org", None),
            ("*", None),
            ("*.", None),
            ("example.org,", None),
            ("", None),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            let suggested = nearest.map(|nearest| format!("did you mean `{nearest}`?"));
            assert_eq!(error.contains("did you mean"), nearest.is_some(), "{error}");
            assert!(suggested.is_none_or(|suggested| error.contains(&suggested)), "{error}");
        }
    }

    #[test]
    fn an_address_of_a_page_is_answered_with_its_host() {
        for (text, host) in [
            ("https://example.org", "example.org"),
            ("http://example.org:8080/x?y", "example.org:8080"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(&format!("name the host alone: `{host}`")), "{error}");
        }
    }

    #[test]
    fn networks_have_stable_names() {
        let text = serde_json::to_string(&[
            Network::Sealed,
            Network::Allowlist(vec!["example.org".into()]),
            Network::Open,
        ]);
        assert_eq!(text.unwrap(), r#"["sealed",{"allowlist":["example.org"]},"open"]"#);
    }
}
