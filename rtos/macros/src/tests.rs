use super::*;
use proptest::prelude::*;
use quote::quote;

/// An application whose tasks are these items, sharing `a`, `b` and `#[lock_free] c`.
fn application(tasks: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    quote! {
        mod app {
            #[shared]
            struct Shared { a: u32, b: u32, #[lock_free] c: u32 }
            #[local]
            struct Local {}
            #[init]
            fn init(_: init::Context) -> (Shared, Local) { loop {} }
            #tasks
        }
    }
}

fn three_tasks() -> proc_macro2::TokenStream {
    application(quote! {
        #[task(priority = 1, period = 100.millis(), budget = 2.millis(), shared = [a, b, c])]
        fn low(_: low::Context) {}
        #[cfg(all())]
        #[task(priority = 2, every = 10.millis(), budget = 1.millis(), shared = [b])]
        fn middle(_: middle::Context, _first: u32, _second: u8) {}
        #[task(priority = 3, period = 1.millis(), budget = 100.micros(), shared = [b])]
        fn high_and_fast(_: high_and_fast::Context) {}
    })
}

fn model(tokens: proc_macro2::TokenStream) -> syntax::App {
    let app = syntax::parse(proc_macro2::TokenStream::new(), tokens).expect("a sentence");
    check::check(&app).expect("makes sense");
    app
}

/// What is refused, all of it.
fn refusals(tokens: proc_macro2::TokenStream) -> Vec<String> {
    let error = expand(proc_macro2::TokenStream::new(), tokens).expect_err("refused");
    error.into_iter().map(|one| one.to_string()).collect()
}

#[test]
fn a_ceiling_is_the_priority_of_the_highest_user() {
    let app = model(application(quote! {
        #[task(priority = 1, shared = [a, b, c])]
        fn low(_: low::Context) {}
        #[task(priority = 3, shared = [b])]
        fn high(_: high::Context) {}
    }));
    let analysis = analyze::analyze(&app).expect("nothing is late");
    let ceiling = |name| analysis.ceiling(&quote::format_ident!("{name}"));
    assert_eq!((ceiling("a"), ceiling("b"), ceiling("c")), (1, 3, 1));
    assert_eq!(analysis.timer, None);
}

#[test]
fn what_a_lower_task_locks_counts_with_its_whole_budget() {
    // `low` locks `b`, whose ceiling is 3: 2 ms are too long for `high-and-fast`.
    let [message] = &refusals(three_tasks())[..] else {
        panic!("one task is late");
    };
    assert!(
        message.starts_with("`high_and_fast` may finish as late as"),
        "{message}"
    );
    assert!(
        message.contains("blocked once by `low` (priority 1)"),
        "{message}"
    );
    // Without the lock nothing holds it up.
    let apart = quote! {
        #[task(priority = 1, period = 100.millis(), budget = 2.millis(), shared = [a, c])]
        fn low(_: low::Context) {}
        #[task(priority = 3, period = 1.millis(), budget = 100.micros(), shared = [b])]
        fn high(_: high::Context) {}
        #[task(budget = 1.millis())]
        async fn background(_: background::Context) {}
    };
    let analysis = analyze::analyze(&model(application(apart))).expect("in time");
    let nanos: Vec<Option<u64>> = analysis
        .responses
        .iter()
        .map(|response| response.map(|nanos| nanos.0))
        .collect();
    // Its budget, 0.9 us of activation, two releases of 0.6 us, 2 us once.
    assert_eq!(nanos[1], Some(104_100));
    assert!(nanos[0].is_some_and(|low| low > 2_000_000 + 2 * 100_000));
    assert_eq!(nanos[2], None, "an async task is not analysed");
    assert_eq!(analysis.timer, Some(1));
}

#[test]
fn the_table_is_in_the_order_of_the_source() {
    let app = model(three_tasks());
    let shown: Vec<&str> = app.tasks.iter().map(|task| task.shown.as_str()).collect();
    assert_eq!(shown, ["low", "middle", "high-and-fast"]);
}

#[test]
fn what_is_generated_is_rust_and_keeps_the_conditions() {
    let tokens = application(quote! {
        #[cfg(feature = "log")]
        #[task(shared = [a, b, c], capacity = 4, local = [#[cfg(test)] n: u32 = 0])]
        fn log(_: log::Context, _first: u32, _second: u8) {}
        #[task(period = 1.millis(), shared = [a])]
        fn control(_: control::Context) {}
    });
    let generated = expand(proc_macro2::TokenStream::new(), tokens).expect("accepted");
    let file: syn::File = syn::parse2(generated.clone()).expect("an item");
    assert_eq!(file.items.len(), 1);
    let text = generated.to_string();
    let number =
        "__rtos_control_number : u8 = __rtos_log_number + cfg ! (all (feature = \"log\")) as u8";
    assert!(
        text.contains(number),
        "a task that is left out takes no place"
    );
}

#[test]
fn all_refusals_are_reported_at_once() {
    let found = refusals(application(quote! {
        #[task(period = 1.millis(), shared = [a, nothing])]
        fn one(_: one::Context) {}
        #[task(binds = pin(3), local = [missing])]
        fn two(_: two::Context) {}
    }));
    for name in ["`nothing`", "`missing`", "`b`", "`c`"] {
        assert!(
            found.iter().any(|message| message.contains(name)),
            "{name}: {found:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_attribute_makes_the_macro_panic(words in prop::collection::vec(prop::sample::select(vec![
        "priority", "period", "phase", "every", "deadline", "budget", "binds", "capacity", "on_fault",
        "float", "shared", "local", "name", "=", ",", "0", "1", "3", "17", "1.millis()", "5.secs()",
        "18446744073709551615.nanos()", "1.kHz()", "pin(8)", "pci(1, 2)", "pin()", "[a]", "[&a, b]",
        "[c: u32 = 0]", "[]", "restart", "\"x\"", "-", "{}", "9999999999999999999999",
    ]), 0..12), is_async in any::<bool>()) {
        let attribute: proc_macro2::TokenStream = words.join(" ").parse().expect("balanced");
        let asyncness = is_async.then(|| quote!(async));
        let tokens = application(quote! {
            #[task(#attribute)]
            #asyncness fn one(_: one::Context) {}
            #[task(shared = [a, b, c])]
            fn all(_: all::Context, _message: [u8; 2]) {}
        });
        if let Ok(generated) = expand(proc_macro2::TokenStream::new(), tokens) {
            prop_assert!(syn::parse2::<syn::File>(generated).is_ok());
        }
    }
}
