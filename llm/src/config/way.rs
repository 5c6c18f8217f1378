//! How calls reach their providers: straight, through a proxy of the site, or through a gateway
//! service on a machine that has internet.

use serde::Deserialize;

use super::Config;

/// Who sends the calls of attempts to providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The harness itself, with the providers' keys.
    #[default]
    Direct,
    /// A gateway service (`medalist gateway`), which has the keys.
    Service,
}

/// What `proxy` says for no proxy, whatever the environment says.
const NONE: &str = "none";

impl Config {
    /// The settings as a harness has them: without keys where a gateway service has them.
    #[must_use]
    pub fn for_harness(self) -> Self {
        match self.via {
            Via::Direct => self,
            Via::Service => self.without_keys(),
        }
    }

    /// The settings as a gateway service has them, which calls providers itself.
    #[must_use]
    pub(crate) fn for_service(mut self) -> Self {
        self.via = Via::Direct;
        self
    }

    pub(super) fn check_proxy(&self) -> Result<(), String> {
        let Some(proxy) = self.proxy.as_deref().filter(|proxy| *proxy != NONE) else {
            return Ok(());
        };
        let plain = ["http://", "https://"].iter().any(|scheme| proxy.starts_with(scheme));
        // What stands here may hold a password: no message quotes it.
        if proxy.contains('@') {
            return Err("`proxy` holds a user or a password, and settings are kept in plain files; leave them out, or \
                        set `HTTPS_PROXY` in place of `proxy`"
                .to_owned());
        }
        if !plain || reqwest::Proxy::all(proxy).is_err() {
            return Err(format!(
                "`proxy` is `{proxy}`; expected an address such as `http://proxy.example.org:3128`, or `{NONE}`"
            ));
        }
        Ok(())
    }

    /// Gives a client the proxy of the settings. Without one `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of
    /// the environment count, and `NO_PROXY` counts beside it.
    pub(crate) fn proxied(
        &self,
        client: reqwest::ClientBuilder,
    ) -> reqwest::Result<reqwest::ClientBuilder> {
        Ok(match self.proxy.as_deref() {
            None => client,
            Some(NONE) => client.no_proxy(),
            Some(proxy) => {
                let excepted = reqwest::NoProxy::from_env();
                client.proxy(reqwest::Proxy::all(proxy)?.no_proxy(excepted))
            }
        })
    }
}
