//! `shoal plan`: what it says of this machine and of others.

use std::sync::Arc;

use serde_json::Value;

use crate::serve::Server;
use crate::{Place, Ran, shoal};

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

#[test]
fn another_machine_needs_no_measurement() {
    let plans =
        json(&shoal(&["plan", "v4-flash:q2", "--on", "rtx3090 + epyc7443 128GB nvme:7GB/s", "--json"]));
    let row = &plans[0]["rows"][0];
    assert_eq!((&row["model"], &row["verdict"]), (&"v4-flash".into(), &"fits".into()), "{row}");
    let rate = |name: &str| row["decode"][name].as_f64().expect("a number");
    assert!(rate("low") < rate("expected") && rate("expected") < rate("high"), "{row}");
    assert!(row["cost"]["output_usd"].as_f64().is_some_and(|usd| usd > 0.0), "{row}");

    let ran = shoal(&["plan", "v4-flash", "--on", "m3-ultra-512", "--on", "8x h20", "--ctx", "32k"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(
        ran.stdout.starts_with("v4-flash in ") && ran.stdout.contains(" runs on 8x h20 at about "),
        "{ran:?}"
    );
    let small = shoal(&["plan", "v3", "--on", "epyc7443 16GB"]);
    assert!(small.stdout.starts_with("None of these runs on epyc7443 16GB: "), "{small:?}");
}

#[test]
fn savings_have_factors_or_enable() {
    let args = ["plan", "--why", "v4-flash:q2", "--on", "ryzen-9950x 16GB nvme:5GB/s", "--json"];
    let accounts = json(&shoal(&args));
    let credits = accounts[0]["accounts"][0]["credits"].as_array().expect("credits").clone();
    let of = |name: &str| credits.iter().find(|pair| pair[0] == name).expect(name)[1].clone();
    assert_eq!(of("streaming"), "enables");
    assert!(of("latent-attention")["factor"].as_f64().is_some_and(|factor| factor >= 1.0), "{credits:?}");
    shoal(&["plan", "--why", "v3:q2", "--on", "epyc7443 16GB"])
        .refused(&["v3 q2 does not run on epyc7443 16GB"]);
}

#[test]
fn many_conversations_share_a_machine_as_long_as_each_is_served() {
    let args = |rate: &'static str| ["plan", "v3:q4_k_m", "--on", "8x h200", "--min-tps", rate, "--json"];
    let streams = |rate| json(&shoal(&args(rate)))[0]["rows"][0]["streams"].as_f64().expect("a number");
    assert!(streams("10") > streams("30") && streams("30") > 1.0);
    let none = shoal(&["plan", "v3:q4_k_m", "--on", "8x h200", "--min-tps", "5000"]);
    assert!(none.stdout.contains("not even one conversation gets 5000 tokens/s"), "{none:?}");
    // As long a context as the model was made for.
    let longest = json(&shoal(&["plan", "v3:q4_k_m", "--on", "8x h200", "--ctx", "0", "--json"]));
    assert_eq!(longest[0]["rows"][0]["context"].as_f64(), Some(163_840.0), "{longest}");
}

#[test]
fn chips_are_listed_with_their_sources() {
    let ran = shoal(&["plan", "--chips"]);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{ran:?}");
    assert!(ran.stdout.lines().any(|line| line.starts_with("h20 ")), "{ran:?}");
    let chips = json(&shoal(&["plan", "--chips", "--json"]));
    let chips = chips.as_array().expect("a list");
    assert!(chips.iter().all(|chip| chip["bandwidth_gb_s"]["source"].is_string()));
}

#[test]
fn what_cannot_be_is_said_with_the_nearest_names() {
    shoal(&["plan", "v3", "--on", "8x h2o"]).refused(&["--on 8x h2o", "no chip is called `h2o`", "h20"]);
    shoal(&["plan", "v3", "--on", "-8x h20"]).refused(&["expected 1 to 1024 of a chip, found `-8x`"]);
    shoal(&["plan", "v3", "--on", "epyc7443 -16GB"]).refused(&["expected a size above 0, found `-16GB`"]);
    shoal(&["plan", "v5-flash", "--on", "h20"]).refused(&["`v5-flash`", "v4-flash"]);
    shoal(&["plan", "v4-flash:q9", "--on", "h20"]).refused(&["v4-flash:q9", "expected one of q2"]);
    shoal(&["plan", "v4.1-flash"]).refused(&["v4.1-flash", "not to run it here"]);
    shoal(&["plan", "http://h/a-00001-of-00003.gguf", "--on", "h20"]).refused(&["one of several parts"]);
    shoal(&["plan", "http://127.0.0.1:1/x.gguf", "--on", "h20"]).refused(&["http://127.0.0.1:1/x.gguf"]);
}

#[test]
fn this_machine_is_measured_once_and_a_server_tells_its_page() {
    let place = Arc::new(Place::new());
    let mut server = Server::start_at(Arc::clone(&place), "minnow", &[]);
    server.ask("GET", "/v1/plan", "", b"").refused(404, Some("plan"), "run `shoal plan` once");
    server.end();

    let plans = json(&place.run(&["plan", "--json", "--memory", "2GiB", "--threads", "1"]));
    let rows = plans[0]["rows"].as_array().expect("rows").clone();
    assert!(rows.len() > 20);
    let of = |name: &str| rows.iter().find(|row| row["model"] == name).expect(name).clone();
    let (small, large) = (of("r1-qwen-1.5b"), of("v4-pro"));
    assert!(small["memory_bytes"].as_f64().is_some_and(|bytes| bytes < 2.0 * f64::from(1 << 30)), "{small}");
    assert_eq!((&large["verdict"], &large["decode"]), (&"no".into(), &Value::Null));

    let server = Server::start_at(Arc::clone(&place), "minnow", &[]);
    let plan = server.ask("GET", "/v1/plan?prompt=1000&known=900", "", b"").json();
    let rows = plan["models"].as_array().expect("rows");
    assert_eq!((&rows[0]["served"], &rows[0]["model"]), (&true.into(), &"minnow".into()));
    let first = |plan: &Value| plan["models"][0]["first_token_s"].as_f64().expect("a number");
    assert!(first(&plan) < first(&server.ask("GET", "/v1/plan?prompt=1000", "", b"").json()));
    server.ask("GET", "/v1/plan?prompt=0", "", b"").refused(
        400,
        Some("prompt"),
        "expected 1 to 10000000 tokens",
    );
    server.ask("GET", "/v1/plan?prompt=5&known=5", "", b"").refused(
        400,
        Some("known"),
        "expected 0 to 4 tokens",
    );
    server.ask("GET", "/v1/plan?tokens=5", "", b"").refused(400, Some("query"), "`prompt` and `known`");
}
