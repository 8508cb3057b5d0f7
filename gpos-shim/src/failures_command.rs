//! The words of `darma faults` and `darma dump`.

use std::path::PathBuf;

use darma_shim::faults_view::{Fault, Faults};
use darma_shim::{Connection, Error, dump};
use lexopt::prelude::*;

/// Shows the recorded failures, or one of them.
pub(crate) fn faults(mut words: lexopt::Parser) -> Result<(), Error> {
    let (mut json, mut number) = (false, None);
    while let Some(word) = words.next()? {
        match word {
            Long("json") => json = true,
            Value(value) if number.is_none() => number = Some(value.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let connection = Connection::open()?;
    let copy = connection.window()?.faults()?;
    let reader = copy.reader().ok_or(Error::NoWindow)?;
    let Some(number) = number else {
        let faults = Faults::of(&reader);
        print!(
            "{}",
            if json {
                faults.json() + "\n"
            } else {
                faults.text()
            }
        );
        return Ok(());
    };
    let record = reader.faults.get(number).ok_or(Error::NoFault(number))?;
    let fault = Fault::of(number, record);
    if json {
        println!("{}", fault.json());
    } else {
        print!("{}", fault.text(reader.minidumps.get(number)));
    }
    Ok(())
}

/// Lists the dumps, or writes one as a core.
pub(crate) fn dump(mut words: lexopt::Parser) -> Result<(), Error> {
    let usage = || Error::Usage("dump needs `list` or `get`".into());
    let act = words.next()?.ok_or_else(usage)?;
    let Value(act) = act else {
        return Err(act.unexpected().into());
    };
    let (mut json, mut number, mut file) = (false, None, None);
    let get = act == "get";
    if !get && act != "list" {
        return Err(usage());
    }
    while let Some(word) = words.next()? {
        match word {
            Long("json") if !get => json = true,
            Short('o') | Long("output") if get => file = Some(PathBuf::from(words.value()?)),
            Value(value) if get && number.is_none() => number = Some(value.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let connection = Connection::open()?;
    let window = connection.window()?;
    if get {
        let newest = || dump::list(&window).map(|dumps| dumps.first().map(dump::Entry::fault));
        let number = match number {
            Some(number) => number,
            None => newest()?.ok_or(Error::NoDump(None))?,
        };
        let file = file.unwrap_or_else(|| format!("core-{number}").into());
        let summary = dump::get(&window, number, &file)?;
        eprintln!("{}", dump::described(&summary, &file));
        return Ok(());
    }
    let dumps = dump::list(&window)?;
    if json {
        println!("{}", dump::json(&dumps));
    } else {
        print!("{}", dump::table(&dumps));
    }
    Ok(())
}
