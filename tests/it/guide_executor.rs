//! The executor that `docs/adding-an-executor.md` builds; the contract runs on it too.

// guide begins
use std::collections::BTreeMap;
use std::sync::Arc;

use medalist::attempt::launch::{BoxFuture, ExecutorError, LaunchSpec, PreparedImage, Program};
use medalist::sandbox::{Executor, ExecutorInfo, Orphan, RunToken, Running};

/// Tells the C library how many memory arenas an attempt may use, whatever executor runs it.
pub(crate) struct Arenas(pub(crate) Arc<dyn Executor>);

impl Executor for Arenas {
    fn check(&self) -> BoxFuture<'_, Result<ExecutorInfo, ExecutorError>> {
        Box::pin(async {
            let info = self.0.check().await?;
            Ok(ExecutorInfo { name: format!("{} with arenas", info.name), ..info })
        })
    }

    fn prepare_image<'a>(
        &'a self,
        program: &'a Program,
    ) -> BoxFuture<'a, Result<Option<PreparedImage>, ExecutorError>> {
        self.0.prepare_image(program)
    }

    fn start(
        &self,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'_, Result<Box<dyn Running>, ExecutorError>> {
        let arenas = spec.limits.cpus.ceil().to_string();
        let mut spec = LaunchSpec::clone(&spec);
        spec.env.push(("MALLOC_ARENA_MAX".to_owned(), arenas));
        self.0.start(Arc::new(spec))
    }

    fn attach<'a>(
        &'a self,
        token: &'a RunToken,
        spec: Arc<LaunchSpec>,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, ExecutorError>> {
        self.0.attach(token, spec)
    }

    fn list_orphans<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Vec<Orphan>, ExecutorError>> {
        self.0.list_orphans(labels)
    }

    fn remove_orphan<'a>(
        &'a self,
        token: &'a RunToken,
    ) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.0.remove_orphan(token)
    }
}
// guide ends

use crate::executor_bench::{Bench, Kind};

/// A bench whose executor is the guide's around the one for processes.
pub(crate) async fn bench() -> Option<Bench> {
    let mut bench = Bench::new(Kind::Process).await?;
    bench.executor = Arc::new(Arenas(Arc::clone(&bench.executor)));
    Some(bench)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_agents_their_arenas() {
    let Some(bench) = bench().await else { return };
    let run = bench.run(&["environment"]).await;
    assert!(run.log().lines().any(|line| line == "MALLOC_ARENA_MAX=1"), "{}", run.log());
}

#[test]
fn the_guide_shows_this_code() {
    let (_, rest) = include_str!("guide_executor.rs").split_once("// guide begins\n").unwrap();
    let (code, _) = rest.split_once("// guide ends\n").unwrap();
    let guide = include_str!("../../docs/adding-an-executor.md");
    assert!(guide.contains(code), "the guide's code differs from tests/it/guide_executor.rs");
}
