use proptest::prelude::*;

use super::*;

const CHAT: &str = concat!(
    ": PROCESSING\n\n",
    "data: {\"id\":\"c1\",\"model\":\"m-1\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hé\"}}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\" \\\"usage\\\": 5\"}}],\"usage\":null}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n",
    "data: [DONE]\n\n",
);
const MESSAGES: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg\",\"model\":\"cl\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"!\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":12}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);
const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r1\",\"model\":\"g\",\"usage\":null}}\n\n",
    "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"id\":\"r1\"}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r1\",\"service_tier\":\"flex\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}}\n\n",
);
const GEMINI: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"usageMetadata\":{\"promptTokenCount\":3,\"totalTokenCount\":4},\"modelVersion\":\"ge\"}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"totalTokenCount\":5}}\n\n",
);

fn feed(meter: &mut Meter, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut out, mut start) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([text.len()]) {
        let end = end.clamp(start, text.len());
        out.extend(meter.next(Bytes::copy_from_slice(&text[start..end])));
        start = end;
    }
    out.extend(meter.rest());
    out
}

fn stream(
    dialect: Dialect,
    operation: Operation,
    text: &str,
    cuts: &[usize],
    strip: bool,
) -> (Meter, Vec<u8>) {
    let mut meter = Meter::new(dialect, operation, true, strip);
    let out = feed(&mut meter, text.as_bytes(), cuts);
    (meter, out)
}

fn all() -> [(Dialect, Operation, &'static str, (u64, u64)); 4] {
    [
        (Dialect::OpenAi, Operation::Chat, CHAT, (7, 2)),
        (Dialect::Anthropic, Operation::Messages, MESSAGES, (9, 12)),
        (Dialect::OpenAi, Operation::Responses, RESPONSES, (3, 4)),
        (Dialect::Gemini, Operation::StreamGenerate, GEMINI, (3, 2)),
    ]
}

proptest! {
    /// Bytes pass unchanged and usage is the same, wherever the stream is cut into pieces.
    #[test]
    fn pieces_change_nothing(mut cuts in prop::collection::vec(0..900usize, 0..12)) {
        cuts.sort_unstable();
        for (dialect, operation, text, (input, output)) in all() {
            let (mut meter, out) = stream(dialect, operation, text, &cuts, false);
            prop_assert!(out == text.as_bytes());
            prop_assert!(meter.close());
            let (buckets, source) = meter.usage(0);
            prop_assert_eq!((buckets.all_input(), buckets.all_output(), source), (input, output, UsageSource::Reported));
        }
        let (mut meter, out) = stream(Dialect::OpenAi, Operation::Chat, CHAT, &cuts, true);
        let without: String = CHAT.split_inclusive("\n\n").filter(|e| !e.contains("prompt_tokens")).collect();
        prop_assert!(out == without.as_bytes());
        prop_assert!(meter.close());
        prop_assert_eq!(meter.usage(0).0.input, 7);
    }

    /// Whatever a provider sends, nothing panics and nothing is lost.
    #[test]
    fn any_bytes_pass(bytes in prop::collection::vec(any::<u8>(), 0..300), strip: bool, cut in 0..300usize) {
        for (dialect, operation, ..) in all() {
            for events in [true, false] {
                let mut meter = Meter::new(dialect, operation, events, strip);
                let out = feed(&mut meter, &bytes, &[cut]);
                meter.close();
                meter.usage(1);
                prop_assert_eq!(&out, &bytes);
            }
        }
    }
}

#[test]
fn streams_cut_at_any_event_are_seen_as_cut_and_what_came_is_counted() {
    for (dialect, operation, text, _) in all() {
        let events: Vec<_> = text.split_inclusive("\n\n").collect();
        for count in 0..events.len() {
            let cut: String = events[..count].concat();
            let (mut meter, _) = stream(dialect, operation, &cut, &[], false);
            let whole = meter.close();
            let (buckets, source) = meter.usage(50);
            let finished =
                !meter.finish_reasons.is_empty() || dialect == Dialect::Gemini && count > 0;
            assert_eq!(whole, finished, "{operation:?} after {count} events");
            if !whole && source == UsageSource::Estimated {
                assert_eq!(buckets.input, 50);
            }
            if source == UsageSource::None {
                assert_eq!(meter.pieces, 0);
            }
        }
    }
    let (mut meter, _) = stream(
        Dialect::Anthropic,
        Operation::Messages,
        &MESSAGES[..MESSAGES.find("event: message_delta").expect("there")],
        &[],
        false,
    );
    assert!(!meter.close());
    let (buckets, source) = meter.usage(0);
    assert_eq!((buckets.input, buckets.output, source), (9, 2, UsageSource::Partial));
}

#[test]
fn what_the_record_needs_is_read() {
    let (meter, _) = stream(Dialect::OpenAi, Operation::Chat, CHAT, &[], true);
    assert_eq!(
        (meter.response_id.as_deref(), meter.response_model.as_deref()),
        (Some("c1"), Some("m-1"))
    );
    assert_eq!(
        (meter.finish_reasons, meter.pieces, meter.content_seen),
        (vec!["stop".to_owned()], 2, true)
    );
    let (meter, _) = stream(Dialect::OpenAi, Operation::Responses, RESPONSES, &[], false);
    assert_eq!(meter.tier(), Some("flex"));
    let error = "data: {\"error\":{\"code\":\"rate_limit\"}}\n\n";
    let (meter, _) = stream(Dialect::OpenAi, Operation::Chat, error, &[], false);
    assert_eq!((meter.error.as_deref(), meter.ended), (Some("rate_limit"), true));
}

#[test]
fn usage_of_zero_is_not_missing_usage() {
    let zero = "{\"choices\":[{\"message\":{\"content\":\"hi\"}}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}";
    for (text, expected) in [
        (zero, (0, UsageSource::Reported)),
        (
            "{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}",
            (30 + 42 / 5, UsageSource::Estimated),
        ),
        ("not json", (0, UsageSource::None)),
    ] {
        let mut meter = Meter::new(Dialect::OpenAi, Operation::Chat, false, false);
        feed(&mut meter, text.as_bytes(), &[5]);
        assert!(meter.close());
        let (buckets, source) = meter.usage(30);
        assert_eq!((buckets.total(), source), expected, "{text}");
    }
}

#[test]
fn usage_at_the_end_of_a_large_answer_is_found() {
    let text = format!(
        "{{\"choices\":[{{\"message\":{{\"content\":\"{} \\\"usage\\\":{{\\\"prompt_tokens\\\":1}}\"}}}}],\"usage\":{{\"prompt_tokens\":12,\"completion_tokens\":3}}}}",
        "x".repeat(3 << 20)
    );
    let mut meter = Meter::new(Dialect::OpenAi, Operation::Chat, false, false);
    for piece in text.as_bytes().chunks(100_000) {
        meter.next(Bytes::copy_from_slice(piece));
    }
    meter.close();
    assert_eq!(meter.usage(0).0, Buckets { input: 12, output: 3, ..Buckets::default() });
}

#[test]
fn geminis_list_of_answers_is_read() {
    let list = "[{\"usageMetadata\":{\"promptTokenCount\":3}},\n{\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":8,\"totalTokenCount\":11}}]";
    let mut meter = Meter::new(Dialect::Gemini, Operation::StreamGenerate, false, false);
    feed(&mut meter, list.as_bytes(), &[20]);
    meter.close();
    assert_eq!(meter.usage(0).0.output, 8);
}
