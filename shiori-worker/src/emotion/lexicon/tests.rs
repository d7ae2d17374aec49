use proptest::prelude::*;
use shiori_sdk::{DayEmotion, Distribution, Document, Emotion};

use super::{LexiconModel, judge};
use crate::emotion::{EmotionModel, Judgement, day_emotion};

fn label(text: &str) -> Emotion {
    judge(text).distribution.label()
}

fn probability(text: &str, emotion: Emotion) -> f64 {
    judge(text).distribution.probability(emotion)
}

/// Ten typical diary sentences for each emotion. The model may miss one in ten.
static SENTENCES: [(Emotion, [&str; 10]); 7] = [
    (
        Emotion::Fear,
        [
            "집에 오는 골목길 가로등이 꺼져 있어서 너무 무서웠다.",
            "내일 건강검진 결과가 나오는데 자꾸 나쁜 상상만 들어 불안하다.",
            "누가 계속 따라오는 것 같아 뒤도 못 돌아보고 뛰었다.",
            "수술 날짜가 다가올수록 두려움이 커진다.",
            "새벽에 창문이 덜컹거려 이불 속에서 벌벌 떨었다.",
            "발표를 망칠까 봐 걱정돼서 한숨도 못 잤다.",
            "비행기가 심하게 흔들려서 식은땀이 났다.",
            "어젯밤 악몽 때문에 불을 켜 놓고 잤다.",
            "낭떠러지 옆을 걷는데 다리가 후들거리고 아찔했다.",
            "I was terrified when the lights went out and something moved.",
        ],
    ),
    (
        Emotion::Surprise,
        [
            "문을 열었더니 군대에 있을 동생이 서 있어서 깜짝 놀랐다.",
            "아무도 예상하지 못한 결과에 다들 입이 떡 벌어졌다.",
            "십 년 만에 길에서 짝꿍을 만나다니 이게 웬일이야!",
            "헐, 내가 산 복권 번호가 그대로 나왔다.",
            "갑자기 눈앞에서 간판이 떨어져 화들짝 뒤로 물러섰다.",
            "그 조용하던 선배가 가수였다니 정말 뜻밖이었다.",
            "믿을 수 없는 소식을 듣고 한동안 말문이 막혔다.",
            "팀장님이 다음 달에 그만둔다고 해서 모두 어안이 벙벙했다.",
            "생각지도 못한 곳에서 내 이름이 불렸다.",
            "Wow, I was so surprised that they had planned it for months.",
        ],
    ),
    (
        Emotion::Anger,
        [
            "약속을 세 번이나 어기고도 사과 한마디 없어서 화가 났다.",
            "윗집이 새벽까지 뛰어서 짜증이 머리끝까지 났다.",
            "내 공을 가로챈 선배가 정말 괘씸하다.",
            "뻔뻔하게 새치기를 하는 사람을 보고 열받았다.",
            "하지도 않은 일로 혼나서 억울하고 분했다.",
            "그 말만은 도저히 용서할 수 없다.",
            "동생이 내 옷을 말도 없이 입고 나가서 버럭 소리를 질렀다.",
            "상담원이 전화를 뚝 끊어 버려 부글부글 끓었다.",
            "생각할수록 분노가 치밀어 주먹을 꽉 쥐었다.",
            "My landlord lied to me again and I am furious.",
        ],
    ),
    (
        Emotion::Sadness,
        [
            "강아지가 무지개다리를 건넌 지 일주일, 아직도 밥그릇을 못 치웠다.",
            "친구가 이민을 가서 공항에서 펑펑 울었다.",
            "혼자 먹는 생일 케이크가 그렇게 쓸쓸할 수 없었다.",
            "또 떨어졌다. 이번에는 정말 기대했는데 속상하다.",
            "엄마 목소리를 듣자마자 눈물이 났다.",
            "아무도 내 마음을 몰라주는 것 같아 외로웠다.",
            "할아버지가 앉으시던 의자를 보니 그리워서 가슴이 먹먹했다.",
            "그때 잡지 못한 게 너무 후회된다.",
            "요즘은 아침에 눈을 뜨는 것조차 힘들고 우울하다.",
            "I cried all night because I miss you.",
        ],
    ),
    (
        Emotion::Neutral,
        [
            "여섯 시 반에 일어나 밥을 먹고 지하철을 탔다.",
            "오늘은 회의가 두 번 있었고 보고서를 한 장 썼다.",
            "우유와 달걀을 사고 분리수거를 했다.",
            "평범한 하루였다.",
            "저녁은 김치볶음밥, 설거지는 내가 했다.",
            "치과 예약을 다음 주 수요일로 옮겼다.",
            "별다른 일 없이 하루가 지나갔다.",
            "도서관에 책 두 권을 반납하고 세 권을 빌렸다.",
            "커튼을 빨아서 널고 방을 정리했다.",
            "Had a meeting at ten, then did the laundry.",
        ],
    ),
    (
        Emotion::Happiness,
        [
            "드디어 자격증 시험에 합격했다!",
            "오랜만에 식구들이 다 모여서 정말 즐거운 저녁이었다.",
            "조카가 나를 보고 활짝 웃어서 하루의 피로가 다 풀렸다.",
            "처음으로 십 킬로미터를 완주했다. 뿌듯하다.",
            "벚꽃길을 걸으니 마음이 설렌다.",
            "친구가 몰래 준비한 도시락이 너무 고마웠다.",
            "따뜻한 차 한 잔에 마음이 편안해졌다.",
            "좋아하는 가수의 공연을 보고 신나게 노래를 따라 불렀다.",
            "첫 월급으로 부모님께 밥을 사 드릴 수 있어 기뻤다.",
            "We had a wonderful picnic and laughed until sunset.",
        ],
    ),
    (
        Emotion::Disgust,
        [
            "싱크대 밑에서 바퀴벌레가 나왔다. 징그러워 죽겠다.",
            "하수구에서 올라오는 악취에 속이 메스꺼웠다.",
            "지하철 옆자리 사람이 바닥에 침을 뱉어서 불쾌했다.",
            "냉장고 구석에서 썩은 양파를 발견하고 헛구역질을 했다.",
            "화장실이 너무 더러워서 그냥 나왔다.",
            "약한 사람에게만 큰소리치는 그 비열함이 역겹다.",
            "국에서 머리카락이 나와 입맛이 뚝 떨어졌다.",
            "거짓말로 사람을 이용하는 모습에 환멸을 느꼈다.",
            "빨래에서 쉰내가 나서 다시 돌렸다. 찝찝하다.",
            "The sink was full of rotten food, it was so gross.",
        ],
    ),
];

#[test]
fn most_diary_sentences_have_the_expected_label() {
    let mut missed = Vec::new();
    for (meant, sentences) in &SENTENCES {
        let before = missed.len();
        missed
            .extend(sentences.iter().filter(|s| label(s) != *meant).map(|s| (meant, label(s), s)));
        assert!(missed.len() - before <= 2, "{meant}: {missed:#?}");
    }
    assert!(missed.len() <= 7, "{missed:#?}");
}

macro_rules! diary {
    ($day:literal) => {
        include_str!(concat!("../../../../examples/data/", $day, ".json"))
    };
}

fn day(file: &str) -> DayEmotion {
    let diary: serde_json::Value = serde_json::from_str(file).expect("is JSON");
    let document = Document::from_value(&diary["content"]).expect("is a document");
    let title = diary["title"].as_str().expect("has a title").to_owned();
    let texts: Vec<String> = std::iter::once(title).chain(document.block_texts()).collect();
    let judgements: Vec<Judgement> = texts.iter().map(|text| judge(text)).collect();
    day_emotion(shiori_sdk::Date::new(2026, 4, 6).expect("is a date"), &judgements)
}

#[test]
fn the_days_of_the_example_week_have_the_expected_labels() {
    for (file, meant) in [
        (diary!("monday"), Emotion::Neutral),
        (diary!("tuesday"), Emotion::Surprise),
        (diary!("wednesday"), Emotion::Anger),
        (diary!("thursday"), Emotion::Disgust),
        (diary!("friday"), Emotion::Fear),
        (diary!("saturday"), Emotion::Sadness),
        (diary!("sunday"), Emotion::Happiness),
    ] {
        let day = day(file);
        assert_eq!(day.label, meant, "{day:?}");
        assert!(day.confidence > 0.4, "{day:?}");
    }
}

#[test]
fn a_negated_emotion_is_not_the_label() {
    for text in [
        "하나도 안 무서웠다.",
        "이제는 무섭지 않다.",
        "무섭지는 않았다.",
        "무섭지도 않더라.",
        "무섭지않다.",
        "두려움 없이 뛰어내렸다.",
        "걱정은 없다.",
        "화가 난 건 아니다.",
        "슬픈 것은 아니었다.",
        "놀라지 마세요.",
        "I am not afraid.",
        "It wasn't scary.",
        "She walked home without fear.",
    ] {
        let judged = judge(text);
        assert_eq!(judged.distribution.label(), Emotion::Neutral, "{text}");
        assert!(judged.evidence > 0.0 && judged.evidence < 1.0, "{text}: {judged:?}");
    }
    for text in [
        "하나도 안 기쁘다.",
        "전혀 즐겁지 않았다.",
        "마음껏 웃지 못했다.",
        "재미있지가 않았다.",
        "I am not happy.",
        "We didn't really enjoy it.",
    ] {
        assert_eq!(label(text), Emotion::Sadness, "{text}");
        assert!(probability(text, Emotion::Sadness) < 0.6, "{text} is only mildly sad");
    }
}

#[test]
fn phrases_that_only_look_negated_keep_their_emotion() {
    for (text, meant) in [
        ("그렇게 즐거울 수가 없었다.", Emotion::Happiness),
        ("이보다 더 행복할 수 없다.", Emotion::Happiness),
        ("안 그래도 무서운데 불까지 꺼졌다.", Emotion::Fear),
        ("밥을 안 먹어서, 슬프다.", Emotion::Sadness),
        ("도저히 참을 수 없었다.", Emotion::Anger),
        ("믿기지 않는 소식이었다.", Emotion::Surprise),
        ("아니. 정말 기뻤다.", Emotion::Happiness),
        ("No, I am happy.", Emotion::Happiness),
    ] {
        assert_eq!(label(text), meant, "{text}");
    }
}

#[test]
fn intensifiers_and_diminishers_change_the_weight() {
    let ordered = [
        ["조금 슬프다.", "슬프다.", "너무 슬프다."],
        ["슬프다.", "슬프다!", "슬프다!!!"],
        ["약간 무서웠다.", "무서웠다.", "너무무서웠다."],
        ["덜 즐거웠다.", "즐거웠다.", "정말 즐거웠다."],
        ["I was slightly sad.", "I was sad.", "I was very sad."],
    ];
    for texts in ordered {
        let [low, middle, high] = texts.map(|text| judge(text).evidence);
        assert!(low < middle && middle < high, "{texts:?}: {low} {middle} {high}");
    }
    for tone in ["ㅠㅠ", "ㅋㅋㅋ"] {
        assert!(judge(&format!("행복해 {tone}")).evidence > judge("행복해").evidence);
        assert_eq!(label(&format!("행복해{tone}")), Emotion::Happiness);
    }
    assert_eq!(label("오늘은 진짜ㅠㅠ"), Emotion::Sadness);
    let shouted = judge("슬프다!!!").evidence;
    assert!((judge("슬프다!!!!!!!!!!!!").evidence - shouted).abs() < 1e-9, "shouting is bounded");
}

#[test]
fn confidence_grows_with_the_evidence() {
    let hint = probability("다행이다.", Emotion::Happiness);
    let plain = probability("행복하다.", Emotion::Happiness);
    let much = probability("행복하다. 너무 기쁘고 즐겁다. 신난다!", Emotion::Happiness);
    assert!((0.25..0.5).contains(&hint), "{hint}");
    assert!(hint < plain && plain < 0.75, "{plain}");
    assert!((0.8..1.0).contains(&much), "{much}");
}

#[test]
fn texts_without_evidence_and_ties_are_neutral() {
    for text in ["", " \n\t", "...", "?!", "12:30", "연필 세 자루.", "lorem ipsum", "ㅇㅇ", "☂"]
    {
        let judged = judge(text);
        assert_eq!(judged.distribution, Distribution::UNIFORM, "{text}");
        assert!(judged.evidence.abs() < f64::EPSILON, "{text}");
    }
    assert_eq!(label("행복하면서 슬프다."), Emotion::Neutral);
    assert!(judge("행복하면서 슬프다.").evidence > 0.0);
}

#[test]
fn words_that_only_begin_like_a_stem_are_not_hits() {
    for text in [
        "전화를 받았다",
        "화장실에 갔다",
        "화요일이었다",
        "화로에 숯을 넣었다",
        "사랑니를 뽑았다",
        "행복동에 산다",
        "감사원에서 서류가 왔다",
        "울산에 다녀왔다",
        "울타리를 칠했다",
        "아파트 앞에서 내렸다",
        "무선 청소기 충전",
        "무서류 접수",
        "어머니가 오셨다",
        "세상에서 가장 높은 산",
        "쓰레기통 옆",
        "벽에 기대어 섰다",
        "비가 그쳤으면 좋겠다",
        "a painting",
        "the scarf",
        "Thanksgiving",
        "made of oak",
        "a crystal",
        "내 역할을 정했다",
        "할부를 분할로 바꿨다",
        "토란국을 끓였다",
        "헐값에 넘겼다",
    ] {
        assert_eq!(judge(text).distribution.label(), Emotion::Neutral, "{text}");
    }
}

#[test]
fn conjugated_forms_are_found_by_their_stem() {
    for (forms, meant) in [
        ("슬프다 슬프고 슬퍼서 슬펐다 슬픈 슬픔 슬플", Emotion::Sadness),
        ("무섭다 무섭고 무서워서 무서웠다 무서운 무서울 무서움", Emotion::Fear),
        ("기쁘다 기뻐서 기뻤다 기쁜 기쁨 기뻐했다", Emotion::Happiness),
        ("놀라다 놀라서 놀랐다 놀란 놀람 놀랍다 놀라웠다", Emotion::Surprise),
        ("화나다 화나서 화났다 화난 화내며 화냈다", Emotion::Anger),
        ("더럽다 더러워서 더러웠다 더러운", Emotion::Disgust),
    ] {
        for form in forms.split(' ') {
            assert_eq!(label(form), meant, "{form}");
        }
    }
}

#[test]
fn emoji_are_found_with_and_without_modifiers() {
    assert_eq!(label("퇴근길 😭"), Emotion::Sadness);
    assert_eq!(label("😡😡"), Emotion::Anger);
    assert_eq!(label("❤"), Emotion::Happiness);
    assert_eq!(judge("❤\u{fe0f}"), judge("❤"));
    assert_eq!(judge("👍🏽"), judge("👍"));
    assert!(judge("😱😱").evidence > judge("😱").evidence);
}

#[test]
fn normal_form_and_case_make_no_difference() {
    // 슬펐다, decomposed.
    let decomposed = "\u{1109}\u{1173}\u{11af}\u{1111}\u{1165}\u{11bb}\u{1103}\u{1161}";
    assert_ne!(decomposed, "슬펐다");
    assert_eq!(judge(decomposed), judge("슬펐다"));
    assert_eq!(label(decomposed), Emotion::Sadness);
    assert_eq!(judge("I AM SO HAPPY"), judge("i am so happy"));
    assert_eq!(judge("I didn’t enjoy it"), judge("I didn't enjoy it"));
}

#[test]
fn a_text_without_spaces_takes_linear_time() {
    // A megabyte in quadratic time would take hours.
    for piece in
        ["무서", "너무", "가", "화가 ", "안 기쁘지 ", "a", "'", "!", "ㅠ", "😱", ",", "수 없"]
    {
        let text = piece.repeat((1 << 20) / piece.len());
        assert!(judge(&text).evidence.is_finite());
    }
}

#[tokio::test]
async fn the_results_are_in_the_order_of_the_texts() {
    let model = LexiconModel::new();
    assert_eq!(model.engine(), "lexicon/1");
    let texts = ["행복하다", "", "무섭다"].map(str::to_owned).to_vec();
    let judged = model.judge(texts).await.expect("judges");
    let labels: Vec<_> = judged.iter().map(|j| j.distribution.label()).collect();
    assert_eq!(labels, [Emotion::Happiness, Emotion::Neutral, Emotion::Fear]);
    assert!(model.judge(Vec::new()).await.expect("judges").is_empty());
}

proptest! {
    #[test]
    fn any_text_has_a_result(text: String) {
        let judged = judge(&text);
        prop_assert!(judged.evidence.is_finite() && judged.evidence >= 0.0);
        prop_assert_eq!(judged.evidence > 0.0, judged.distribution != Distribution::UNIFORM);
    }

    #[test]
    fn the_evidence_of_sentences_adds_up(
        picks in prop::collection::vec((0..7_usize, 0..10_usize), 1..6),
    ) {
        let sentences: Vec<&str> = picks.iter().map(|(e, n)| SENTENCES[*e].1[*n]).collect();
        let whole = judge(&sentences.join("\n")).evidence;
        let parts: f64 = sentences.iter().map(|sentence| judge(sentence).evidence).sum();
        prop_assert!((whole - parts).abs() < 1e-6);
    }
}
