//! Attacks the real binary from outside and prints for each attack whether the promise held: `./dev attack`, or one of them:
//! `./dev attack memory`. Ends with 1 when one did not hold.

#![expect(clippy::print_stdout, reason = "it prints what held")]

use std::process::ExitCode;

use clap::Parser;
use tests::attack::{ALL, Scale};

/// Attacks the `postern` binary on free ports of this machine.
#[derive(Parser)]
struct Arguments {
    /// The attacks to run; all when none is named.
    names: Vec<String>,
    /// Less load, as the tests run it.
    #[arg(long)]
    short: bool,
}

fn main() -> ExitCode {
    let Arguments { names, short } = Arguments::parse();
    let scale = if short { Scale::Short } else { Scale::Full };
    if let Some(name) = names.iter().find(|name| ALL.iter().all(|attack| attack.name != name.as_str())) {
        let known: Vec<&str> = ALL.iter().map(|attack| attack.name).collect();
        println!("no attack is named {name}; there are: {}", known.join(", "));
        return ExitCode::FAILURE;
    }

    let chosen = ALL.iter().filter(|attack| names.is_empty() || names.iter().any(|name| name == attack.name));
    let mut broken = 0;
    for attack in chosen {
        let (verdict, what) = match attack.run(scale) {
            Ok(seen) if seen.held => ("held    ", seen.what),
            Ok(seen) => ("NOT HELD", seen.what),
            Err(error) => ("NOT RUN ", error.to_string()),
        };
        broken += u32::from(verdict != "held    ");
        println!("{verdict}  {:<14} {}\n{:>26}{what}", attack.name, attack.promise, "");
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
