//! The machine's GPUs as the driver's `nvidia-smi` tells them: whole ones and slices, what they do
//! now and whether they fail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::launch::BoxFuture;

/// Names the `nvidia-smi` to ask in place of the one on PATH.
pub const PROGRAM_VARIABLE: &str = "MEDALIST_NVIDIA_SMI";
/// A driver that does not answer for so long has lost a GPU.
const PATIENCE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// Something that can be handed to an attempt: a whole GPU, or one slice of one that is split
/// (MIG).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// `GPU-…` for a GPU, `MIG-…` for a slice.
    pub uuid: String,
    /// The GPU's model; a slice adds its profile, such as `MIG 1g.10gb`.
    pub model: String,
    /// Memory of the GPU or slice; 0 if the driver does not tell.
    pub memory_bytes: u64,
    /// UUID of the device: its own, or that of the GPU it is a slice of.
    pub device: String,
    /// The driver's index of the GPU.
    pub index: u32,
    /// Minor number of the GPU's device node, `/dev/nvidia<minor>`.
    pub minor: Option<u32>,
    /// NUMA node that the GPU hangs on, if the kernel tells.
    pub numa: Option<u32>,
}

impl Gpu {
    /// True for a slice of a GPU.
    pub fn is_slice(&self) -> bool {
        self.uuid != self.device
    }
}

/// What GPUs a machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Version of the driver; empty on a machine without one.
    pub driver: String,
    /// GPUs that are not split, and the slices of those that are, in the driver's order.
    pub gpus: Vec<Gpu>,
}

/// What a GPU does now. Figures that the driver does not give are `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// UUID of the GPU.
    pub device: String,
    /// Memory in use by anybody.
    pub memory_bytes: Option<u64>,
    /// Share of the time in which something ran on it, 0 to 1.
    pub utilisation: Option<f64>,
    /// Uncorrectable memory errors since the driver was loaded.
    pub memory_errors: Option<u64>,
    /// What is wrong with it, in the driver's words.
    pub fault: Option<String>,
}

/// `nvidia-smi` could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// It could not be started or ended with an error.
    #[error("`{program}` fails: {message}")]
    Failed {
        program: String,
        /// What it or the system said.
        message: String,
    },
    /// It answered something else than what was asked for.
    #[error("`{program}` answers `{line}`, expected {expected}")]
    Strange {
        program: String,
        line: String,
        /// What should stand there.
        expected: &'static str,
    },
}

/// Something that knows what GPUs do: the driver, or a stand-in in tests.
pub trait GpuDriver: Send + Sync {
    /// One sample for each of the GPUs, named by UUID; a GPU that does not answer gets a fault.
    fn samples<'a>(&'a self, devices: &'a [String])
    -> BoxFuture<'a, Result<Vec<Sample>, GpuError>>;
}

/// The driver's own program.
#[derive(Debug, Clone)]
pub struct NvidiaSmi {
    program: PathBuf,
}

impl NvidiaSmi {
    /// The one that [`PROGRAM_VARIABLE`] names, or that is on PATH or at the driver's usual place;
    /// `None` on a machine without GPUs.
    pub fn find() -> Option<Self> {
        if let Some(program) = std::env::var_os(PROGRAM_VARIABLE).filter(|name| !name.is_empty()) {
            return Some(Self::new(program));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            // A PATH that names the folder one happens to be in must not decide who is asked.
            .filter(|dir| dir.is_absolute())
            .chain([PathBuf::from("/usr/local/nvidia/bin")])
            .map(|dir| dir.join("nvidia-smi"))
            .find(|program| program.is_file())
            .map(Self::new)
    }

    /// A program that answers as `nvidia-smi` does.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// What there is.
    ///
    /// # Errors
    /// [`GpuError`] if the driver does not answer, or not as expected.
    pub async fn inventory(&self) -> Result<Inventory, GpuError> {
        let fields =
            "--query-gpu=index,uuid,name,memory.total,driver_version,pci.bus_id,mig.mode.current";
        let table = self.ask([fields, "--format=csv,noheader,nounits"]).await?;
        let minors = minor_numbers(&self.ask(["-q"]).await?);
        let has_slices = table.lines().any(|line| line.trim_end().ends_with("Enabled"));
        let list = if has_slices { self.ask(["-L"]).await? } else { String::new() };
        let mut inventory = Inventory::default();
        for line in table.lines().filter(|line| !line.trim().is_empty()) {
            let row: Vec<&str> = line.split(',').map(str::trim).collect();
            let [index, uuid, name, memory, driver, bus, mig] = row.as_slice() else {
                return Err(self.strange(line, "seven fields"));
            };
            let index = index.parse().map_err(|_| self.strange(line, "a GPU's index first"))?;
            inventory.driver = (*driver).to_owned();
            let device = Gpu {
                uuid: (*uuid).to_owned(),
                model: (*name).to_owned(),
                memory_bytes: memory.parse::<u64>().unwrap_or(0) * MIB,
                device: (*uuid).to_owned(),
                index,
                minor: minors
                    .iter()
                    .find(|(known, _)| same_bus(known, bus))
                    .map(|(_, minor)| *minor),
                numa: numa_node(Path::new("/sys/bus/pci/devices"), bus),
            };
            if *mig == "Enabled" {
                inventory.gpus.extend(slices(&list, &device));
            } else {
                inventory.gpus.push(device);
            }
        }
        Ok(inventory)
    }

    async fn sample(&self, which: Option<&str>) -> Result<Vec<Sample>, GpuError> {
        let fields =
            "--query-gpu=uuid,memory.used,utilization.gpu,ecc.errors.uncorrected.volatile.total";
        let mut arguments = vec![fields, "--format=csv,noheader,nounits"];
        arguments.extend(which.map(|_| "-i"));
        arguments.extend(which);
        let text = self.ask(arguments).await?;
        text.lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| self.sample_of(line))
            .collect()
    }

    fn sample_of(&self, line: &str) -> Result<Sample, GpuError> {
        let row: Vec<&str> = line.split(',').map(str::trim).collect();
        let [device, memory, utilisation, errors] = row.as_slice() else {
            return Err(self.strange(line, "four fields"));
        };
        // `[N/A]` and `[Not Supported]` are figures that a GPU does not give; these are GPUs that
        // give none.
        let broken = |text: &&&str| {
            ["lost", "Unknown Error", "requires reset", "GPU access"]
                .iter()
                .any(|w| text.contains(w))
        };
        Ok(Sample {
            device: (*device).to_owned(),
            memory_bytes: memory.parse::<u64>().ok().map(|mib| mib * MIB),
            utilisation: utilisation.parse::<f64>().ok().map(|percent| percent / 100.0),
            memory_errors: errors.parse().ok(),
            fault: row[1..]
                .iter()
                .find(broken)
                .map(|text| text.trim_matches(['[', ']']).to_owned()),
        })
    }

    async fn ask<I: IntoIterator<Item: AsRef<OsStr>>>(
        &self,
        arguments: I,
    ) -> Result<String, GpuError> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let failed = |message: String| GpuError::Failed {
            program: self.program.display().to_string(),
            message,
        };
        let output = match tokio::time::timeout(PATIENCE, command.output()).await {
            Ok(output) => output.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        // It complains on stdout as often as on stderr.
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned() + &text;
        let line = complaint
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("no reason given");
        Err(failed(format!("{line} ({})", output.status)))
    }

    fn strange(&self, line: &str, expected: &'static str) -> GpuError {
        let line = line.chars().filter(|c| !c.is_control()).take(200).collect();
        GpuError::Strange { program: self.program.display().to_string(), line, expected }
    }
}

impl GpuDriver for NvidiaSmi {
    fn samples<'a>(
        &'a self,
        devices: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Sample>, GpuError>> {
        Box::pin(async move {
            // One lost GPU can end the whole answer: then each GPU is asked for itself.
            let all = self.sample(None).await.unwrap_or_default();
            let mut samples = Vec::new();
            for device in devices {
                samples.push(match all.iter().find(|sample| sample.device == *device) {
                    Some(sample) => sample.clone(),
                    None => match self.sample(Some(device)).await {
                        Ok(own) if own.iter().any(|sample| sample.device == *device) => own
                            .into_iter()
                            .find(|sample| sample.device == *device)
                            .unwrap_or_default(),
                        Ok(_) => broken(device, "the driver no longer lists it".to_owned()),
                        Err(error) => broken(device, error.to_string()),
                    },
                });
            }
            Ok(samples)
        })
    }
}

fn broken(device: &str, fault: String) -> Sample {
    Sample { device: device.to_owned(), fault: Some(fault), ..Sample::default() }
}

/// The slices that `nvidia-smi -L` lists below a GPU.
fn slices(list: &str, device: &Gpu) -> Vec<Gpu> {
    let uuid_of = |line: &str| {
        Some(line.rsplit_once("(UUID: ")?.1.trim_end().trim_end_matches(')').to_owned())
    };
    let mut slices = Vec::new();
    let mut inside = false;
    for line in list.lines() {
        let Some(uuid) = uuid_of(line) else { continue };
        if !line.starts_with([' ', '\t']) {
            inside = uuid == device.uuid;
        } else if inside {
            let profile: Vec<&str> = line.split_whitespace().take(2).collect();
            slices.push(Gpu {
                uuid,
                model: format!("{} {}", device.model, profile.join(" ")),
                memory_bytes: profile
                    .get(1)
                    .and_then(|profile| profile_memory(profile))
                    .unwrap_or(0),
                ..device.clone()
            });
        }
    }
    slices
}

/// Bytes of a profile such as `1g.10gb` or `1g.10gb+me`.
fn profile_memory(profile: &str) -> Option<u64> {
    let gigabytes = profile.split_once('.')?.1.split_once("gb")?.0;
    Some(gigabytes.parse::<u64>().ok()? << 30)
}

/// Bus addresses and minor numbers from the long text of `nvidia-smi -q`; no other query gives
/// them.
fn minor_numbers(text: &str) -> Vec<(String, u32)> {
    let mut minors = Vec::new();
    let mut bus = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("GPU ") {
            bus = rest.trim();
        } else if let Some((key, value)) = line.split_once(':')
            && key.trim() == "Minor Number"
            && let Ok(minor) = value.trim().parse()
        {
            minors.push((bus.to_owned(), minor));
        }
    }
    minors
}

/// Whether two PCI addresses are one; domains are written with four or eight digits.
fn same_bus(a: &str, b: &str) -> bool {
    let plain = |bus: &str| bus.to_ascii_lowercase().trim_start_matches('0').to_owned();
    plain(a) == plain(b)
}

fn numa_node(devices: &Path, bus: &str) -> Option<u32> {
    let (domain, rest) = bus.split_once(':')?;
    let domain = u32::from_str_radix(domain, 16).ok()?;
    let path =
        devices.join(format!("{domain:04x}:{}", rest.to_ascii_lowercase())).join("numa_node");
    // A machine with one node writes -1.
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that answers as `nvidia-smi` does on a machine with a plain GPU and one that is
    /// split.
    pub(crate) fn fake_nvidia_smi(dir: &Path, samples: &str) -> PathBuf {
        let script = format!(
            r#"#!/bin/sh
case "$*" in
*index,uuid*) cat <<'END'
0, GPU-aaaa, NVIDIA H100 80GB HBM3, 81559, 580.159.04, 00000000:00:05.0, Disabled
1, GPU-bbbb, NVIDIA A100-SXM4-40GB, 40960, 580.159.04, 00000000:8A:00.0, Enabled
END
;;
-q) printf 'Attached GPUs : 2\nGPU 00000000:00:05.0\n    Minor Number                          : 3\n'
    printf 'GPU 00000000:8A:00.0\n    Product Name : x\n    Minor Number                          : 0\n' ;;
-L) cat <<'END'
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 1g.5gb      Device  1: (UUID: MIG-2222)
END
;;
{samples}
esac
"#
        );
        let path = dir.join("nvidia-smi");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn cards_and_slices_are_found_with_their_device_nodes() {
        let temp = tempfile::tempdir().unwrap();
        let inventory = NvidiaSmi::new(fake_nvidia_smi(temp.path(), "")).inventory().await.unwrap();
        assert_eq!(inventory.driver, "580.159.04");
        let facts: Vec<(&str, u64, u32, Option<u32>, bool)> = inventory
            .gpus
            .iter()
            .map(|gpu| {
                (gpu.uuid.as_str(), gpu.memory_bytes / MIB, gpu.index, gpu.minor, gpu.is_slice())
            })
            .collect();
        let expected = [
            ("GPU-aaaa", 81_559, 0, Some(3), false),
            ("MIG-1111", 20 << 10, 1, Some(0), true),
            ("MIG-2222", 5 << 10, 1, Some(0), true),
        ];
        assert_eq!(facts, expected);
        assert_eq!(inventory.gpus[1].model, "NVIDIA A100-SXM4-40GB MIG 3g.20gb");
        assert_eq!(inventory.gpus[2].device, "GPU-bbbb");
    }

    #[tokio::test]
    async fn figures_are_read_and_lost_cards_named() {
        let temp = tempfile::tempdir().unwrap();
        // As the driver does when one of two GPUs fell off the bus: no answer for both, an answer
        // for the healthy one.
        let samples = r#"*-i\ GPU-aaaa) echo "GPU-aaaa, 1024, 87, [N/A]" ;;
*-i\ *|*uuid,memory.used*) echo "Unable to determine the device handle for GPU1: 0000:8A:00.0: GPU is lost."; exit 15 ;;"#;
        let smi = NvidiaSmi::new(fake_nvidia_smi(temp.path(), samples));
        let found = smi.samples(&["GPU-aaaa".into(), "GPU-bbbb".into()]).await.unwrap();
        assert_eq!((found[0].memory_bytes, found[0].utilisation), (Some(1 << 30), Some(0.87)));
        assert_eq!((found[0].memory_errors, &found[0].fault), (None, &None));
        assert!(found[1].fault.as_ref().unwrap().contains("GPU is lost"), "{found:?}");

        let samples = r#"*uuid,memory.used*) echo "GPU-aaaa, [GPU is lost], [GPU is lost], 0"; echo "GPU-bbbb, 0, 0, 2" ;;"#;
        let smi = NvidiaSmi::new(fake_nvidia_smi(temp.path(), samples));
        let found =
            smi.samples(&["GPU-aaaa".into(), "GPU-bbbb".into(), "GPU-cccc".into()]).await.unwrap();
        assert_eq!(found[0].fault.as_deref(), Some("GPU is lost"));
        assert_eq!((found[1].memory_errors, &found[1].fault), (Some(2), &None));
        assert_eq!(found[2].fault.as_deref(), Some("the driver no longer lists it"));
    }

    #[tokio::test]
    async fn a_driver_that_fails_says_why() {
        let error = NvidiaSmi::new("/no/such/program").inventory().await.unwrap_err().to_string();
        assert!(error.starts_with("`/no/such/program` fails: "), "{error}");
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("smi");
        std::fs::write(&path, "#!/bin/sh\necho 'NVIDIA-SMI has failed because of X'\nexit 9\n")
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = NvidiaSmi::new(&path).inventory().await.unwrap_err().to_string();
        assert!(
            error.contains("NVIDIA-SMI has failed because of X") && error.contains('9'),
            "{error}"
        );
    }

    #[test]
    fn numa_nodes_come_from_the_kernel() {
        let temp = tempfile::tempdir().unwrap();
        let device = temp.path().join("0000:8a:00.0");
        std::fs::create_dir(&device).unwrap();
        std::fs::write(device.join("numa_node"), "1\n").unwrap();
        assert_eq!(numa_node(temp.path(), "00000000:8A:00.0"), Some(1));
        std::fs::write(device.join("numa_node"), "-1\n").unwrap();
        assert_eq!(numa_node(temp.path(), "00000000:8A:00.0"), None);
        assert_eq!(numa_node(temp.path(), "nonsense"), None);
    }
}
