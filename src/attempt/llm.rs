//! Language models that an attempt may call: what a plan says of them, and what the agent is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use medalist_llm::config::{Clock, ConfigError, KeySource};
use medalist_llm::{AttemptContext, Config, Gateway};
use serde::{Deserialize, Serialize};

/// The gateway's port, as agents know it.
pub const PORT: u16 = 4000;
/// The port of the providers' own names.
pub const TLS_PORT: u16 = 443;
/// What agents get in place of a key: clients want one, and the gateway puts the real one in.
pub const DUMMY_KEY: &str = "medalist-gateway";

/// Variables with the address of a client's provider: which provider that is, and what each client
/// expects after its name. Which client reads which is in docs/llm.md.
const ADDRESSES: [(&str, &str, &str); 14] = [
    ("OPENAI_BASE_URL", "openai", "/v1"),
    ("OPENAI_API_BASE", "openai", "/v1"),
    ("OPENAI_API_BASE_URL", "openai", "/v1"),
    ("LLM_BASE_URL", "openai", "/v1"),
    ("AIBUILDAI_BASE_URL", "openai", "/v1"),
    ("ANTHROPIC_BASE_URL", "anthropic", ""),
    ("ANTHROPIC_API_BASE", "anthropic", ""),
    ("ANTHROPIC_API_URL", "anthropic", ""),
    ("GOOGLE_GEMINI_BASE_URL", "gemini", ""),
    // The one client that reads it appends no version.
    ("GEMINI_API_BASE", "gemini", "/v1beta"),
    ("OPENROUTER_BASE_URL", "openrouter", "/v1"),
    ("OPENROUTER_API_BASE", "openrouter", "/v1"),
    ("DEEPSEEK_BASE_URL", "deepseek", "/v1"),
    ("DEEPSEEK_API_BASE", "deepseek", "/v1"),
];

/// Variables in which clients look for a key.
const KEYS: [&str; 8] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OPENROUTER_API_KEY",
    "DEEPSEEK_API_KEY",
    "CODEX_API_KEY",
    "LLM_API_KEY",
];

/// Variables that name a bundle of authorities in place of the system's.
const BUNDLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
];

/// Variables that name an authority beside those that a client knows.
const ADDITIONS: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// True if the gateway stands in for the key that this variable would hold.
pub fn is_key(variable: &str) -> bool {
    KEYS.contains(&variable)
}

/// What clients are told of the gateway at `localhost:port`.
///
/// Where the settings have no upstream of a provider's own name, its clients get the address without
/// a name, and the gateway finds the upstream that speaks their dialect.
pub fn environment(config: &Config, port: u16) -> Vec<(&'static str, String)> {
    let gateway = format!("http://localhost:{port}");
    let mut told = vec![
        ("MEDALIST_LLM_URL", gateway.clone()),
        ("MEDALIST_LLM_BUDGET_URL", format!("{gateway}/medalist/budget")),
        // Without it litellm asks the internet for its prices first, and waits for them.
        ("LITELLM_LOCAL_MODEL_COST_MAP", "True".to_owned()),
    ];
    for (name, provider, path) in ADDRESSES {
        let known = config.upstreams.contains_key(provider);
        match provider {
            _ if known => told.push((name, format!("{gateway}/{provider}{path}"))),
            "openai" | "anthropic" | "gemini" => told.push((name, format!("{gateway}{path}"))),
            _ => {}
        }
    }
    told.extend(KEYS.into_iter().map(|name| (name, DUMMY_KEY.to_owned())));
    told
}

/// What makes a client trust the authority in the file `ca`, which is in `bundle` beside others.
pub fn trust(ca: &str, bundle: &str) -> Vec<(String, String)> {
    let all = BUNDLES.into_iter().map(|name| (name, bundle));
    all.chain(ADDITIONS.into_iter().map(|name| (name, ca)))
        .map(|(name, path)| (name.to_owned(), path.to_owned()))
        .collect()
}

/// What a plan says of language models: the settings, which name keys and never hold one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlmPlan {
    /// Where the settings were read from; key files are relative to it.
    pub file: PathBuf,
    /// The settings, as in `llm.toml`.
    pub settings: serde_json::Value,
    /// The run group whose recordings answer, in place of providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<PathBuf>,
}

impl LlmPlan {
    /// Reads and checks a settings file.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let text = std::fs::read_to_string(&file)
            .map_err(|source| ConfigError::Read { path: file.clone(), source })?;
        Self::parse(&text, &file)
    }

    /// Checks settings that stand in `file`, which is an absolute path.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        Config::parse(text, file)?;
        let settings: serde_json::Value =
            toml::from_str(text).map_err(|error: toml::de::Error| ConfigError::Parse {
                path: file.to_owned(),
                line: None,
                message: error.to_string(),
            })?;
        // Settings of medalist's own have the gateway's in a table.
        let within = settings.get("llm").filter(|table| table.is_object()).cloned();
        let settings = within.unwrap_or(settings);
        Ok(Self { file: file.to_owned(), settings, replay: None })
    }

    /// The settings as the gateway takes them; a replay that asks no provider, and a harness whose
    /// calls go through a gateway service, need no key.
    ///
    /// # Errors
    /// The plan was changed by hand.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let config = self.service_config()?.for_harness();
        let alone = self.replay.is_some() && !config.replay.through;
        Ok(if alone { config.without_keys() } else { config })
    }

    /// The settings as a gateway service takes them, with the places of all keys.
    ///
    /// # Errors
    /// As [`LlmPlan::config`].
    pub fn service_config(&self) -> Result<Config, ConfigError> {
        let text = toml::to_string(&self.settings).map_err(|error| ConfigError::Invalid {
            path: self.file.clone(),
            message: error.to_string(),
        })?;
        Config::parse(&text, &self.file)
    }

    /// Variables of the harness's environment that hold keys.
    pub fn key_variables(&self) -> Vec<String> {
        let config = self.config().ok();
        let upstreams = config.into_iter().flat_map(|config| config.upstreams.into_values());
        let variable = |key: KeySource| match key {
            KeySource::Env(name) => Some(name),
            KeySource::File(_) | KeySource::Command(_) => None,
        };
        upstreams.filter_map(|upstream| upstream.key).filter_map(variable).collect()
    }

    /// Whether providers may run tools for an agent, so that it reaches beyond its container.
    pub fn opens_the_seal(&self) -> bool {
        self.settings.pointer("/policy/hosted_tools").is_some_and(|word| word == "allow")
    }
}

/// The gateway as one attempt has it.
#[derive(Debug, Clone)]
pub struct LlmAccess {
    /// Serves the run group.
    pub gateway: Arc<Gateway>,
    /// The attempt's own bill, budget and certificate.
    pub attempt: Arc<AttemptContext>,
}

impl LlmAccess {
    /// What the agent is told of the gateway at `localhost:port`.
    pub fn environment(&self, port: u16) -> Vec<(&'static str, String)> {
        environment(self.gateway.config(), port)
    }

    /// Whether the attempt's clock stands still while it waits for overloaded providers.
    pub fn pauses_the_clock(&self) -> bool {
        self.gateway.config().clock == Clock::PauseOnOutage
    }

    /// The host names that lead to the gateway; none if no upstream has any.
    pub fn hosts(&self) -> Vec<String> {
        let tls = self.attempt.tls();
        tls.map(|tls| tls.hosts().map(str::to_owned).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TEXT: &str = "[upstreams.openai]\nkey = { file = \"key\" }\n[policy]\nhosted_tools = \"allow\"\n[budget.attempt]\ndollars = \"5.00\"\n";

    #[test]
    fn a_plan_keeps_the_settings_and_where_the_key_is() {
        let plan = LlmPlan::parse(TEXT, Path::new("/home/me/llm.toml")).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let again: LlmPlan = serde_json::from_str(&text).unwrap();
        assert_eq!(again, plan);
        let config = again.config().unwrap();
        assert_eq!(format!("{:?}", config.upstreams["openai"].key), "Some(File(\"/home/me/key\"))");
        assert!(config.budget.attempt.dollars.is_some());
        assert!(plan.opens_the_seal());
    }

    #[test]
    fn a_replay_needs_no_key_unless_it_asks_providers_too() {
        let replayed = |text: &str| LlmPlan {
            replay: Some(PathBuf::from("/runs/group")),
            ..LlmPlan::parse(text, Path::new("/llm.toml")).unwrap()
        };
        assert!(replayed(TEXT).config().unwrap().upstreams["openai"].key.is_none());
        let through = format!("{TEXT}[replay]\nthrough = true\n");
        assert!(replayed(&through).config().unwrap().upstreams["openai"].key.is_some());
    }

    #[test]
    fn keys_stay_with_the_gateway_service() {
        let text = "via = \"service\"\n[upstreams.openai]\nkey = { env = \"SOME_KEY\" }\n";
        let plan = LlmPlan::parse(text, Path::new("/llm.toml")).unwrap();
        assert!(plan.config().unwrap().upstreams["openai"].key.is_none());
        assert!(plan.service_config().unwrap().upstreams["openai"].key.is_some());
        assert!(plan.key_variables().is_empty(), "none is handed to nodes");
    }

    #[test]
    fn every_client_is_told_the_form_that_it_expects() {
        let config = LlmPlan::parse(TEXT, Path::new("/llm.toml")).unwrap().config().unwrap();
        let told: BTreeMap<_, _> = environment(&config, 4000).into_iter().collect();
        assert_eq!(told["OPENAI_BASE_URL"], "http://localhost:4000/openai/v1");
        // There is no upstream of that name; one that speaks the dialect is found by the path.
        assert_eq!(told["ANTHROPIC_BASE_URL"], "http://localhost:4000");
        assert_eq!(told["GEMINI_API_KEY"], DUMMY_KEY);
        assert!(!told.contains_key("DEEPSEEK_BASE_URL"));
        assert_eq!(told["LITELLM_LOCAL_MODEL_COST_MAP"], "True");
        assert!(is_key("OPENAI_API_KEY") && !is_key("KAGGLE_KEY"));
    }
}
