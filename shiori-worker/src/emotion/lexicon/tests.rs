use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use shiori_sdk::{Date, Document};

use super::{
    table::{STEMS, entries},
    *,
};
use crate::emotion::day_emotion;

fn label(text: &str) -> Emotion {
    LexiconModel::new().judge_one(text).distribution.label()
}

fn confidence(text: &str, emotion: Emotion) -> f64 {
    LexiconModel::new().judge_one(text).distribution.probability(emotion)
}

#[test]
fn the_table_is_sound() {
    let mut seen: BTreeMap<&str, Feeling> = BTreeMap::new();
    let (mut korean, mut english) = (0, 0);
    for (feeling, weight, stem) in entries(STEMS) {
        assert_eq!(stem.trim(), stem, "a stem with spaces around it");
        assert!(!stem.is_empty());
        assert!(seen.insert(stem, feeling).is_none(), "{stem} stands twice");
        assert_eq!(weight > 0.0, feeling != Feeling::Nothing, "{stem}");
        if stem.starts_with(|c: char| c.is_ascii_alphabetic()) { english += 1 } else { korean += 1 }
    }
    assert!(korean >= 450 && english >= 150, "{korean} Korean stems, {english} English ones");
    let labels = STEMS.lines().filter(|line| !line.starts_with('#'));
    for line in labels {
        let label = line.split('\t').next().unwrap();
        assert!(label == "-" || label.parse::<Emotion>().is_ok(), "{label}");
    }
}

/// Ten sentences for each emotion, as a diary has them.
const SENTENCES: [(Emotion, [&str; 10]); 7] = [
    (
        Emotion::Happiness,
        [
            "오랜만에 친구들을 만나서 하루 종일 웃었다.",
            "아이가 처음으로 이름을 써서 보여 주는데 얼마나 뿌듯하던지.",
            "드디어 합격 소식을 들었다!",
            "엄마가 끓여 준 미역국이 정말 맛있었다.",
            "햇살이 좋아서 공원을 천천히 산책했다.",
            "그 말을 듣고 마음이 따뜻해졌다.",
            "내일 떠날 여행이 기대된다.",
            "퇴근길에 들은 노래가 좋아서 콧노래를 불렀다.",
            "We laughed so much that my cheeks hurt a little, a wonderful evening.",
            "고양이가 무릎 위에서 잠들어서 행복했다 😊",
        ],
    ),
    (
        Emotion::Sadness,
        [
            "할머니 사진을 보다가 눈물이 났다.",
            "빈방에 혼자 앉아 있으니 쓸쓸했다.",
            "결국 그 사람과 헤어졌다.",
            "열심히 했는데 떨어졌다는 연락을 받았다.",
            "요즘은 아무것도 하기 싫고 마음이 가라앉는다.",
            "미안하다는 말을 끝내 하지 못해 후회가 된다.",
            "오늘따라 고향 집이 그립다.",
            "버티는 것도 이제 너무 지친다.",
            "I cried all night because I miss her.",
            "다들 떠난 교실이 허전했다 ㅠㅠ",
        ],
    ),
    (
        Emotion::Anger,
        [
            "또 내 탓으로 돌리는 걸 듣고 화가 났다.",
            "줄을 서 있는데 새치기를 해서 짜증이 확 났다.",
            "사과 한마디 없이 가 버리다니 어이없다.",
            "약속을 세 번이나 미뤄 놓고 핑계만 댄다. 정말 열받는다.",
            "내 아이디어를 가로채다니 분해서 잠이 안 온다.",
            "회의에서 대놓고 무시당했다.",
            "윗집 층간소음 때문에 결국 항의했다.",
            "친구와 사소한 일로 크게 싸웠다.",
            "I was furious that he lied to me again.",
            "참다못해 버럭 소리를 질렀다.",
        ],
    ),
    (
        Emotion::Fear,
        [
            "밤길에 누가 따라오는 것 같아 무서웠다.",
            "내일 검사 결과가 나온다니 불안해서 잠이 오지 않는다.",
            "발표 차례가 다가오자 손이 떨렸다.",
            "천둥소리에 가슴이 철렁했다.",
            "건널목에서 차에 치일 뻔해서 아직도 다리가 후들거린다.",
            "엘리베이터가 멈췄을 때 숨이 막혔다.",
            "혹시 잘못되면 어쩌나 걱정이 된다.",
            "악몽을 꾸고 식은땀을 흘리며 깼다.",
            "I was so scared walking home in the dark.",
            "귀신이 나올 것 같은 오싹한 복도였다.",
        ],
    ),
    (
        Emotion::Surprise,
        [
            "십 년 만에 그 친구에게서 연락이 와서 깜짝 놀랐다.",
            "전혀 예상하지 못한 결과였다.",
            "갑자기 문이 열려서 화들짝 일어났다.",
            "내 이름이 불렸을 때 귀를 의심했다.",
            "세상에, 눈이 사월에 내리다니.",
            "생각지도 못한 사람이 문 앞에 서 있었다.",
            "헉, 벌써 열두 시라니.",
            "가격표를 보고 눈이 휘둥그레졌다.",
            "Wow, I never expected that, what a surprise.",
            "당황해서 아무 말도 나오지 않았다.",
        ],
    ),
    (
        Emotion::Disgust,
        [
            "냉장고에서 썩은 냄새가 났다.",
            "싱크대에서 바퀴벌레가 나와 징그러웠다.",
            "화장실이 너무 더러워서 그냥 나왔다.",
            "길바닥에 침을 뱉는 모습이 역겨웠다.",
            "국에서 머리카락이 나와 밥맛이 뚝 떨어졌다.",
            "곰팡이가 핀 빵을 모르고 한 입 먹어서 구역질이 났다.",
            "쓰레기봉투가 터져 끈적한 물이 흘렀다.",
            "그 사람의 위선은 정말 질색이다.",
            "The kitchen was filthy and it stank of garbage.",
            "하수구에서 악취가 올라와 코를 막았다.",
        ],
    ),
    (
        Emotion::Neutral,
        [
            "아침에 일어나 씻고 밥을 먹었다.",
            "오전에는 회의를 하고 오후에는 문서를 썼다.",
            "평소처럼 여섯 시에 퇴근했다.",
            "마트에서 우유와 달걀을 샀다.",
            "버스를 타고 두 정거장 갔다.",
            "별일 없는 하루였다.",
            "책상을 정리했다.",
            "점심은 김밥이었다.",
            "I took the train and read the newspaper.",
            "내일은 치과 예약이 있다.",
        ],
    ),
];

#[test]
fn it_reads_diary_sentences() {
    let mut wrong = Vec::new();
    for (emotion, sentences) in SENTENCES {
        for sentence in sentences {
            let read = label(sentence);
            if read != emotion {
                wrong.push(format!("{emotion} read as {read}: {sentence}"));
            }
        }
    }
    assert!(wrong.len() <= 3, "{} of 70\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn it_reads_the_days_of_a_real_week() {
    let week = [
        (include_str!("../../../../examples/data/monday.json"), Emotion::Neutral),
        (include_str!("../../../../examples/data/tuesday.json"), Emotion::Surprise),
        (include_str!("../../../../examples/data/wednesday.json"), Emotion::Anger),
        (include_str!("../../../../examples/data/thursday.json"), Emotion::Disgust),
        (include_str!("../../../../examples/data/friday.json"), Emotion::Fear),
        (include_str!("../../../../examples/data/saturday.json"), Emotion::Sadness),
        (include_str!("../../../../examples/data/sunday.json"), Emotion::Happiness),
    ];
    let model = LexiconModel::new();
    let mut wrong = Vec::new();
    for (json, emotion) in week {
        let sample: Value = serde_json::from_str(json).unwrap();
        let mut texts = vec![sample["title"].as_str().unwrap().to_owned()];
        texts.extend(Document::from_value(&sample["content"]).unwrap().block_texts());
        let blocks: Vec<_> = texts.iter().map(|text| model.judge_one(text)).collect();
        let day = day_emotion(Date::new(2026, 2, 16).unwrap(), &blocks);
        if day.label != emotion {
            wrong.push(format!("{emotion} read as {}: {:?}", day.label, day.distribution));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conjugations_are_found_by_their_letters() {
    for text in ["슬프다", "슬픈 날", "슬펐다", "슬퍼서", "슬픔"] {
        assert_eq!(label(text), Emotion::Sadness, "{text}");
    }
    for text in ["기쁘다", "기뻤다", "기뻐서", "기쁨이", "\u{1100}\u{1175}\u{1108}\u{1173}\u{11B7}"]
    {
        assert_eq!(label(text), Emotion::Happiness, "{text}");
    }
    assert_eq!(label("HAPPINESS and Joy"), Emotion::Happiness);
}

#[test]
fn what_only_looks_like_a_feeling_is_none() {
    for text in [
        "화장실에 갔다",
        "화요일에 전화했다",
        "사랑니를 뽑았다",
        "행복동 주민 센터",
        "무료 입장",
        "아파트로 이사했다",
        "파리 여행 사진",
        "벽에 기대어 섰다",
        "신기술 발표",
        "감사팀 문서",
        "manganese",
        "greatly",
        "the tearoom",
        "",
        "   ",
        "1234 + 5678",
        "…",
    ] {
        let judgement = LexiconModel::new().judge_one(text);
        assert_eq!(judgement.distribution, Distribution::UNIFORM, "{text}");
        assert!(judgement.evidence.abs() < f64::EPSILON);
    }
}

#[test]
fn negation_turns_a_word_around() {
    for text in
        ["행복하지 않다", "즐겁지 않았다", "안 좋았다", "I am not happy", "I don't enjoy it"]
    {
        assert_eq!(label(text), Emotion::Sadness, "{text}");
    }
    for text in [
        "슬프지 않다",
        "무섭지는 않았다",
        "화나지 않았다",
        "걱정이 없다",
        "걱정 없이",
        "I was never afraid",
    ] {
        assert_eq!(label(text), Emotion::Neutral, "{text}");
    }
    assert_eq!(label("안주가 좋았다"), Emotion::Happiness, "no negation");
}

#[test]
fn boosters_and_downtoners_count() {
    let plain = confidence("슬펐다", Emotion::Sadness);
    assert!(confidence("너무 슬펐다", Emotion::Sadness) > plain);
    assert!(confidence("조금 슬펐다", Emotion::Sadness) < plain);
    assert!(confidence("슬펐다. 눈물이 났다. 외로웠다.", Emotion::Sadness) > plain);
    assert!(confidence("산책했다", Emotion::Happiness) < 0.5, "one weak word, modest confidence");
}

#[test]
fn a_text_torn_in_two_is_neutral() {
    assert_eq!(label("기쁘고 슬펐다"), Emotion::Neutral);
}

#[test]
fn a_megabyte_is_read_too() {
    let long = "오늘은 슬프지 않고 행복했다 😀 ".repeat(25_000);
    assert_eq!(label(&long), Emotion::Happiness);
    assert_eq!(label(&"가".repeat(400_000)), Emotion::Neutral);
}

#[tokio::test]
async fn each_text_gets_its_judgement_in_order() {
    let texts = vec!["행복했다".to_owned(), String::new(), "무서웠다".to_owned()];
    let judged = LexiconModel::new().judge(texts).await.unwrap();
    let labels: Vec<_> = judged.iter().map(|one| one.distribution.label()).collect();
    assert_eq!(labels, [Emotion::Happiness, Emotion::Neutral, Emotion::Fear]);
}

proptest! {
    #[test]
    fn any_text_is_judged(text in "\\PC{0,200}") {
        let judgement = LexiconModel::new().judge_one(&text);
        prop_assert!(judgement.evidence >= 0.0 && judgement.evidence.is_finite());
    }
}
