//! Durations as `fugit` writes them, but evaluated here: the response-time analysis needs the value
//! before any code runs, so only literals will do.

use darma_abi::units::Nanos;
use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Expr, Lit};

/// A duration and where it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Duration {
    pub(crate) nanos: Nanos,
    pub(crate) span: Span,
}

const SECOND: u64 = 1_000_000_000;
const HOW: &str = "write a whole number with its unit, such as `1.secs()`, `10.millis()`, `20.micros()`, \
                   `500.nanos()`, or a rate: `50.Hz()`, `1.kHz()`";

impl Parse for Duration {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let expression: Expr = input.parse()?;
        let span = expression.span();
        let refuse = |message: String| syn::Error::new(span, message);
        let unknown = || refuse(format!("this is no duration that is known here: {HOW}"));
        let Expr::MethodCall(call) = &expression else {
            return Err(unknown());
        };
        let Expr::Lit(literal) = &*call.receiver else {
            return Err(unknown());
        };
        let Lit::Int(number) = &literal.lit else {
            return Err(unknown());
        };
        if !call.args.is_empty() || call.turbofish.is_some() {
            return Err(unknown());
        }
        let number: u64 = number.base10_parse()?;
        let unit = call.method.to_string();
        let nanos = match unit.as_str() {
            "nanos" => Some(number),
            "micros" => number.checked_mul(1_000),
            "millis" => number.checked_mul(1_000_000),
            "secs" => number.checked_mul(SECOND),
            "minutes" => number.checked_mul(60 * SECOND),
            "Hz" => return of_rate(Some(number), span),
            "kHz" => return of_rate(number.checked_mul(1_000), span),
            "MHz" => return of_rate(number.checked_mul(1_000_000), span),
            _ => return Err(refuse(format!("`{unit}` is no unit of time: {HOW}"))),
        };
        match nanos {
            Some(0) => Err(refuse("a duration of zero: give a longer one".to_owned())),
            // 292 years: half of what 64 bits hold, so that sums still fit.
            Some(nanos) if nanos <= u64::MAX / 2 => Ok(Self {
                nanos: Nanos(nanos),
                span,
            }),
            _ => Err(refuse(
                "longer than 292 years: give a shorter one".to_owned(),
            )),
        }
    }
}

/// The period of a rate in Hz.
fn of_rate(hertz: Option<u64>, span: Span) -> syn::Result<Duration> {
    match hertz {
        Some(hertz) if hertz > 0 && SECOND.is_multiple_of(hertz) => Ok(Duration {
            nanos: Nanos(SECOND / hertz),
            span,
        }),
        _ => Err(syn::Error::new(
            span,
            "the period of this rate is no whole number of nanoseconds: write the period itself, \
             such as `333.micros()`",
        )),
    }
}

/// A duration as a person writes it.
pub(crate) fn shown(nanos: Nanos) -> String {
    let (unit, name) = match nanos.0 {
        0..1_000 => return format!("{} ns", nanos.0),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..SECOND => (1_000_000, "ms"),
        _ => (SECOND, "s"),
    };
    let (whole, rest) = (nanos.0 / unit, nanos.0 % unit);
    let digits = unit.ilog10() as usize;
    let text = format!("{whole}.{rest:0digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<u64, String> {
        syn::parse_str::<Duration>(text)
            .map(|duration| duration.nanos.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_unit_is_evaluated() {
        for (text, nanos) in [
            ("500.nanos()", 500),
            ("20.micros()", 20_000),
            ("1_0.millis()", 10_000_000),
            ("2.secs()", 2 * SECOND),
            ("1.minutes()", 60 * SECOND),
            ("50.Hz()", 20_000_000),
            ("1.kHz()", 1_000_000),
            ("2.MHz()", 500),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_literal_duration_is_refused_with_what_to_write() {
        for text in [
            "PERIOD",
            "10",
            "n.millis()",
            "1.5.millis()",
            "1.millis(2)",
            "-1.secs()",
        ] {
            assert!(
                parse(text).expect_err(text).contains("10.millis()"),
                "{text}"
            );
        }
        assert!(
            parse("1.fortnights()")
                .expect_err("no unit")
                .contains("`fortnights`")
        );
        assert!(parse("0.millis()").is_err());
        assert!(
            parse("3.kHz()")
                .expect_err("inexact")
                .contains("whole number")
        );
        assert!(parse("0.Hz()").is_err());
        assert!(parse("18446744073709551615.secs()").is_err());
    }

    #[test]
    fn durations_are_shown_in_their_largest_unit() {
        for (nanos, text) in [
            (999, "999 ns"),
            (1_500, "1.5 us"),
            (1_000_000, "1 ms"),
            (12_034_000, "12.034 ms"),
            (2 * SECOND, "2 s"),
            (10 * SECOND + 10, "10.00000001 s"),
        ] {
            assert_eq!(shown(Nanos(nanos)), text);
        }
    }
}
