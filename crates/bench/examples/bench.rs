//! `fanfare bench` on its own, for work on the benchmark itself.

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: fanfare_bench::BenchArgs,
}

fn main() -> anyhow::Result<()> {
    fanfare_bench::run(Cli::parse().bench)
}
