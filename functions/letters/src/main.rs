//! Lists the most frequent letters of its standard input; how many, the variable `MOST` says.

use std::collections::HashMap;
use std::io::{self, Read};
use std::process::ExitCode;

fn main() -> ExitCode {
    match count() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Goes to the log.
            eprintln!("letters: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count() -> Result<(), Box<dyn std::error::Error>> {
    let most: usize = std::env::var("MOST")?.parse()?;
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let mut counts: HashMap<char, usize> = HashMap::new();
    for letter in text.chars().filter(|letter| letter.is_alphabetic()) {
        *counts.entry(letter).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(letter, count)| (std::cmp::Reverse(*count), *letter));
    for (letter, count) in counts.into_iter().take(most) {
        println!("{letter}: {count}");
    }
    Ok(())
}
