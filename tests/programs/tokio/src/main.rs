//! What tokio does without a network, with one thread and with several. Without arguments beside its name it runs the checks;
//! told `serve`, or started as the function `tokio`, it answers a request on standard input.

mod checks;

use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// Threads of the larger runtime.
const THREADS: usize = 4;

fn one_thread() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn several_threads() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
}

fn main() -> std::io::Result<ExitCode> {
    let name = std::env::args().next().unwrap_or_default();
    if name == "tokio" {
        several_threads()?.block_on(serve())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut count = 0;
    for (kind, build) in [
        ("one thread", one_thread as fn() -> _),
        ("several threads", several_threads),
    ] {
        for (name, check) in checks::ALL {
            let runtime = build()?;
            runtime.block_on(check());
            runtime.shutdown_timeout(Duration::from_secs(10));
            println!("ok {kind}: {name}");
            count += 1;
        }
    }
    println!("{count} checks, all fine");
    Ok(ExitCode::SUCCESS)
}

/// Writes the number of letters of each line of standard input, in order.
async fn serve() -> std::io::Result<()> {
    let mut request = String::new();
    tokio::io::stdin().read_to_string(&mut request).await?;
    let count = |line: &str| line.chars().filter(|letter| letter.is_alphabetic()).count();
    let tasks: Vec<_> = request
        .lines()
        .map(|line| {
            let line = line.to_owned();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                count(&line)
            })
        })
        .collect();
    let mut response = String::new();
    for task in tasks {
        response += &format!("{}\n", task.await?);
    }
    let mut output = tokio::io::stdout();
    output.write_all(response.as_bytes()).await?;
    output.flush().await
}
